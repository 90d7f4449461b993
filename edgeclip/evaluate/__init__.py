"""Zero-shot accuracy of any Encoder, and the datasets it is measured on."""
