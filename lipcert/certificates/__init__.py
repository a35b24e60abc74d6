"""Proofs: enclosures, certificates and their verification."""

from lipcert.certificates.certificate import Certificate
from lipcert.certificates.prover import Prover, prove
from lipcert.certificates.verify import Verdict, verify

__all__ = ["Certificate", "Prover", "Verdict", "prove", "verify"]
