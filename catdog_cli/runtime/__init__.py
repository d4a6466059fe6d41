"""The process and its machine: files, devices, memory, processes, seeds; knows nothing of the rest."""
