"""What every room stands on: errors, files, documents, the console. It knows no other room."""
