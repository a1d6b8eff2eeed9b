"""The images: sources, the stored data set, batches in memory, augmentation, subsets."""
