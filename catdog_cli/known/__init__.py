"""How far an image lies from what was trained on, and which classes it may be, each at a stated rate.

Numbers alone: features and probabilities come in, distances, p-values and sets go out. `training`,
`inference` and `evaluation` all need it, and `runs` reads what a checkpoint keeps of it.
"""
