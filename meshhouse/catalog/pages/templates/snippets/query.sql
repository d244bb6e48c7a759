select *
from {{ product.relation }}
limit 10
