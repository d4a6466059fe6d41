"""What a frozen network makes of images: computed once, kept, handed out in batches."""
