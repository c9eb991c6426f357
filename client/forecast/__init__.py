"""What a study would let leave this hospital, told before anything is opened."""
