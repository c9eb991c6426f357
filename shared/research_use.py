"""What every file that carries scores or models out of trifed says first."""

USE = "Research use only. Not a medical device; not for decisions about patients."
