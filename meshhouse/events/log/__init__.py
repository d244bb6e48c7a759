"""The embedded event log: topics as files in the mesh's data folder."""
