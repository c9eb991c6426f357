"""`trifed site check`: is this hospital ready to take part?"""
