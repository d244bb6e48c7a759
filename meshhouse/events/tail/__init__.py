"""The log shipper: lines of a growing text file become events of a topic."""
