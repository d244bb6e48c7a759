create tag if not exists "MESH"."MESHHOUSE"."DOMAIN" comment = 'The domain that owns the data.';
create tag if not exists "MESH"."MESHHOUSE"."OWNER" comment = 'Whom to ask.';
create tag if not exists "MESH"."MESHHOUSE"."VERSION" comment = 'The product''s version.';
create tag if not exists "MESH"."MESHHOUSE"."CLASSIFICATION" comment = 'What kind of data a column holds.';
create table "MESH"."SHOP_GENERATIONS"."ORDERS__GENERATION" clone "MESH"."SHOP_BUILD"."ORDERS";
alter table "MESH"."SHOP_GENERATIONS"."ORDERS__GENERATION" set tag "MESH"."MESHHOUSE"."DOMAIN" = 'shop', "MESH"."MESHHOUSE"."OWNER" = 'shop team shop@tiny.example', "MESH"."MESHHOUSE"."VERSION" = '1';
alter table "MESH"."SHOP_GENERATIONS"."ORDERS__GENERATION" modify column "CUSTOMER_ID" set tag "MESH"."MESHHOUSE"."CLASSIFICATION" = 'personal';
create table if not exists "MESH"."SHOP"."ORDERS" clone "MESH"."SHOP_GENERATIONS"."ORDERS__GENERATION";
create or replace table "MESH"."SHOP"."ORDERS" clone "MESH"."SHOP_GENERATIONS"."ORDERS__GENERATION" copy grants;
comment on table "MESH"."SHOP"."ORDERS" is 'What was bought. One row per order.';
alter table "MESH"."SHOP"."ORDERS" alter "ORDER_ID" comment 'The order.', "CUSTOMER_ID" comment 'Who bought.', "AMOUNT" comment 'What was paid.', "SOLD_AT" comment 'When.';
create secure view if not exists "MESH"."SHOP_SHARED"."ORDERS" comment = 'What was bought. One row per order.' as select "ORDER_ID", "CUSTOMER_ID", "AMOUNT", "SOLD_AT" from "MESH"."SHOP"."ORDERS";
create or replace secure view "MESH"."SHOP_SHARED"."ORDERS" copy grants comment = 'What was bought. One row per order.' as select "ORDER_ID", "CUSTOMER_ID", "AMOUNT", "SOLD_AT" from "MESH"."SHOP"."ORDERS"
