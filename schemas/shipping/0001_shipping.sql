-- The Shipping service: shipments, their history, and the witnesses of its branches.
-- No foreign keys: see schemas/order/0001_order.sql.

CREATE TABLE shipments (
  shipment_id      uuid        PRIMARY KEY,  -- version 7, made by the coordinator
  order_id         uuid        NOT NULL UNIQUE,
  shipping_address jsonb       NOT NULL CHECK (jsonb_typeof(shipping_address) = 'object'),  -- personal data
  tracking_number  text        NOT NULL UNIQUE,  -- made from shipment_id: no wait at apply
  carrier          text        NOT NULL,
  status           text        NOT NULL CHECK (status IN ('ARRANGED', 'SHIPPED', 'DELIVERED', 'CANCELLED')),
  created_at       timestamptz NOT NULL,
  updated_at       timestamptz NOT NULL,
  CHECK (updated_at >= created_at)
) WITH (fillfactor = 90);

CREATE TABLE events (
  event_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id       uuid        NOT NULL,
  type           text        NOT NULL,  -- ShippingArranged, ShippingCancelled, ShipmentShipped, ShipmentDelivered
  correlation_id text        NOT NULL,
  at             timestamptz NOT NULL
);
CREATE INDEX events_by_order ON events (order_id);

CREATE TABLE txc_branch (
  gid text        PRIMARY KEY,
  at  timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
