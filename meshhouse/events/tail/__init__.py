"""The log shipper: sends the lines of a growing text file to a topic."""
