"""What is made of a run's records for people and for other programs. Pure: no files, no clock, no git."""
