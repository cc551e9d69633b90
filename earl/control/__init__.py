"""What steers a run beside the loss: which problems come, which groups train, the reference, and the warning signs."""
