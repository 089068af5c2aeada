"""Scripts that make what is shipped: pages, pictures, the embedded subject, texts."""
