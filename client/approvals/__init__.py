"""Which studies a person of this hospital approved; one of real patients answers no other."""
