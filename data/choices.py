"""What is chosen by name. No NumPy here: `handgrad --help` lists these names and must not wait for it."""

# The data sets: the names of their classes in torchvision.datasets.
CLASSES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}

# The augmentations: the limits that Augmentation takes.
LIMITS: dict[str, dict[str, float]] = {
    "none": {},
    "weak": {"degrees": 5, "pixels": 0.5, "scaling": 0.05},
    "medium": {"degrees": 8, "pixels": 1, "scaling": 0.08},
    "strong": {"degrees": 12, "pixels": 1.5, "scaling": 0.12},
}
