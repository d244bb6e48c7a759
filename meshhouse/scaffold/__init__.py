"""New files of a mesh: whole meshes, domains, products, references.

Belongs here: what `mesh init` and `mesh new` write, made from the files in templates/, and writing
it without overwriting anything. Not here: questions and printing (cli/), or the next version of a
product (repository/new_version.py).
"""
