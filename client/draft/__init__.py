"""`trifed site init`: a draft manifest from a folder of images."""
