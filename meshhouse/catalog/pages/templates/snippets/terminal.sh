mesh sql "select * from {{ product.relation }} limit 10"
