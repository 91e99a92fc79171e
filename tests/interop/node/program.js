// One instance with eureka-js-client, reading by deltas. Takes orders on standard input, one a line, and prints what
// the client itself sees as JSON, one line a change. The client has no call for overrides.
'use strict';

const readline = require('readline');
const { Eureka } = require('eureka-js-client');

const given = {};
for (const arg of process.argv.slice(2)) {
  const at = arg.indexOf('=');
  given[arg.slice(0, at)] = arg.slice(at + 1);
}
const url = new URL(given.url);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const log = (...words) => process.stderr.write(`${words.join(' ')}\n`);

const client = new Eureka({
  shouldUseDelta: given.delta !== 'false',
  logger: { debug: () => {}, info: log, warn: log, error: log },
  instance: {
    app: given.app,
    instanceId: given.id,
    hostName: given.host,
    ipAddr: '127.0.0.1',
    port: { $: Number(given.port), '@enabled': true },
    vipAddress: given.vip,
    leaseInfo: { renewalIntervalInSecs: Number(given.interval), durationInSecs: Number(given.lease) },
    dataCenterInfo: { '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo', name: 'MyOwn' },
  },
  eureka: {
    host: url.hostname,
    port: Number(url.port),
    servicePath: `${url.pathname}apps/`,
    heartbeatInterval: Number(given.interval) * 1000,
    registryFetchInterval: 1000,
    filterUpInstances: false,
  },
});

// By vip: in the list by application the client's own delta code replaces the wrong one of several instances.
let last = '';
setInterval(() => {
  const seen = [];
  for (const list of Object.values(client.cache.vip)) {
    for (const it of list) seen.push([it.app, it.instanceId, it.status, it.hostName, it.port.$]);
  }
  seen.sort();
  const view = JSON.stringify({ view: seen });
  if (view !== last) {
    last = view;
    process.stdout.write(`${view}\n`);
  }
}, 50);

client.start((error) => {
  if (error) log('start', error);
});
client.on('registered', () => say({ did: 'register', status: 204 }));

let stopping = false;
const stop = () => {
  if (stopping) return;
  stopping = true;
  client.stop((error) => {
    say(error ? { did: 'quit', error: String(error) } : { did: 'quit' });
    process.exit(0);
  });
};
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'quit') stop();
}).on('close', stop);
