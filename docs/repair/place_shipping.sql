-- Writes again what the lost shipping branch of a decided global transaction had written, for a
-- group of one order. The address was nowhere but in the branch: ask the customer, and choose the
-- carrier as participants/shipping/carrier.cpp does.
-- Variables: gid, answers (a JSON array with the operations.answer of the placed order), address
-- (a JSON object: name, postal_code, prefecture, city, line1, line2?, phone?), carrier, tracking.
-- docs/operating.md says what to check before. Fails, and changes nothing, if the branch is there.
INSERT INTO txc_branch (gid) VALUES (:'gid');

SELECT 1 / (jsonb_array_length(:'answers'::jsonb) = 1)::integer AS one_order;

INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number, carrier, status,
                       created_at, updated_at)
SELECT (a->'shipment'->>'shipment_id')::uuid, (a->>'order_id')::uuid, :'address'::jsonb, :'tracking',
       :'carrier', 'ARRANGED', (a->>'created_at')::timestamptz, (a->>'created_at')::timestamptz
  FROM jsonb_array_elements(:'answers'::jsonb) a;

INSERT INTO events (order_id, type, correlation_id, at)
SELECT (a->>'order_id')::uuid, 'ShippingArranged', a->>'correlation_id', (a->>'created_at')::timestamptz
  FROM jsonb_array_elements(:'answers'::jsonb) a;
