"""What is distilled from: images, sentences, their views and batches, and what teachers made of them."""
