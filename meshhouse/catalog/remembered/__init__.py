"""What a build remembers, so that the next one gathers only what changed since.

Belongs here: the file of what is remembered, the proof of what changed, and bringing documents up
to date. Not here: gathering everything (gather/), or writing pages (site.py).

Whatever is not proved leads to a full build: other declarations, another day, code or setting, a
new contract, a table that changed without an entry in the ledger, a page that is gone. What is
left is what happens most often: runs, landings, publications with the same contract, rollbacks to
one, reads that were recorded today, and products that become late.
"""
