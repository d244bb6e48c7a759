"""How consumers read published products: connections and the SQL that they may run."""
