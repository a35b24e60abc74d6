"""Methods under their published names, on the same interconnection, solvers and proof as our own; a file each.

Whatever a method computes, it ends in multipliers of (C) for some form of the network, and the proof finds the smallest
bound that these multipliers carry. The number that the method itself would report is kept in the proposal's message.
"""

from lipcert.bounds.published import eclipse, geolip, liplt, nsr

RECORDS = (*nsr.RECORDS, *geolip.RECORDS, *eclipse.RECORDS, *liplt.RECORDS)
