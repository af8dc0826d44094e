#!/usr/bin/env node
// Places one order and waits until it is final, whatever happens on the way: ./run serve, then
//     node docs/clients/order_client.js [http://127.0.0.1:8080]
'use strict';
const { randomUUID } = require('node:crypto');
const SECONDS_IN_ALL = 60, PAUSE_MAX_MS = 5000;

// status 0: no answer, so nobody knows whether it was seen.
async function call(method, url, body, key) {
  const headers = { 'Content-Type': 'application/json', ...(key && { 'Idempotency-Key': key }) };
  try {
    const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body),
                                      signal: AbortSignal.timeout(15000) });
    return { status: answer.status, headers: answer.headers, document: await answer.json() };
  } catch { // refused, reset, silent for too long
    return { status: 0, headers: new Headers(), document: {} };
  }
}

// One key for all tries: the order is placed at most once.
async function place(base, order) {
  const key = randomUUID(), deadline = Date.now() + 1000 * SECONDS_IN_ALL;
  let url = null; // of the order, once it was accepted
  for (let attempt = 0; Date.now() < deadline; attempt++) {
    const { status, headers, document } = await (url ? call('GET', url)
                                                     : call('POST', `${base}/v1/orders`, order, key));
    if (status === 202) { // accepted, not decided: look at Location from now on
      url = base + headers.get('Location');
      attempt = 0;
    } else if ((status === 200 || status === 201) && document.status !== 'PENDING') {
      return { confirmed: document.status !== 'FAILED', document };
    } else if (status === 404 && url) { // it came to nothing: the key tells why
      url = null;
    } else if (![0, 200, 503, 504].includes(status) && document.reason !== 'REQUEST_IN_FLIGHT') {
      return { confirmed: false, document }; // a refusal is an answer: for ever under this key
    }
    const backoff = Math.max(1000 * Number(headers.get('Retry-After') ?? 0), 100 * 2 ** Math.min(attempt, 6));
    const wait = Math.min(PAUSE_MAX_MS, backoff) * (0.5 + Math.random()); // not all at once
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  throw new Error(`not final after ${SECONDS_IN_ALL} s; ask again with Idempotency-Key ${key}`);
}

const address = { name: '田中太郎', postal_code: '100-0001', prefecture: '東京都', city: '千代田区', line1: '千代田1-1' };
const wanted = { customer_id: 'customer-001', items: [{ sku: 'book-123', quantity: 1, unit_price: 3500 }],
                 shipping_address: address, payment_method: 'wallet' };
place(process.argv[2] ?? 'http://127.0.0.1:8080', wanted).then(({ confirmed, document }) =>
  console.log(confirmed ? 'confirmed' : 'refused', document.order_id ?? '', document.reason ?? ''));
