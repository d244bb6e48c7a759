{% if mesh_environment %}MESH_ENV={{ mesh_environment }} {% endif %}mesh sql "select * from {{ product.relation }} limit 10"
