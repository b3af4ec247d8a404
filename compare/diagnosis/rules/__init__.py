"""The update rules of torch.optim as their papers write them, and what goes wrong in one line of them."""
