// SPDX-License-Identifier: Apache-2.0
// Asks tempopb.StreamingQuerier: node streaming.js HOST:PORT METHOD REQUEST-AS-JSON [TENANT]
// Prints {"messages": [...], "code": n, "details": text} when the stream has ended.
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, method, question, tenant] = process.argv.slice(2);
const definition = loader.loadSync(path.join(__dirname, 'tempo_streaming.proto'),
  { keepCase: true, longs: String, defaults: false, oneofs: false });
const { StreamingQuerier } = grpc.loadPackageDefinition(definition).tempopb;
const client = new StreamingQuerier(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
if (tenant) metadata.set('x-scope-orgid', tenant);

const messages = [];
const call = client[method](JSON.parse(question), metadata, { deadline: Date.now() + 20000 });
call.on('data', (message) => messages.push(message));
call.on('error', () => {}); // its status says the same
call.on('status', ({ code, details }) => {
  process.stdout.write(JSON.stringify({ messages, code, details }));
  client.close();
});
