"""Random numbers from (seed, phase, epoch, sample), never from a state that a resume could lose."""

import hashlib

import torch


def seed_of(*parts: int | str) -> int:
    """Return a number below 2**63 that depends on all parts and nothing else."""
    text = "\0".join(map(str, parts)).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator_of(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded by `parts`."""
    return torch.Generator().manual_seed(seed_of(*parts))
