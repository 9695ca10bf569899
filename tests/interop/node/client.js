// client.js - the Node client ali-ons as producer and consumer: named cases that
// print "case node.NAME ok|fail ANSWER" each.
//
//	NODE_PATH=.../node_modules node client.js NAMESRV BROKER [PATTERN...]
'use strict';

const net = require('net');
const { Producer, Consumer, Message } = require('ali-ons');

const [namesrv, broker, ...patterns] = process.argv.slice(2);
const stamp = Math.floor(Date.now() / 100).toString(36);
const silent = { info() {}, warn() {}, error() {}, debug() {} };
const fresh = name => `node-${name}-${stamp}`;
const sleep = ms => new Promise(done => setTimeout(done, ms));
let instances = 0;

function check(holds, what) {
	if (!holds)
		throw new Error(what);
}

async function until(seconds, what, holds) {
	for (const end = Date.now() + seconds * 1000; !await holds(); await sleep(50))
		check(Date.now() < end, `not within ${seconds} s: ${what}`);
}

// One request frame and its answer's header; the client itself makes no topics.
function ask(address, code, extFields) {
	const header = Buffer.from(JSON.stringify({ code, extFields, flag: 0, language: 'JAVA',
		opaque: 1, version: 479 }));
	const lengths = Buffer.alloc(8);
	lengths.writeUInt32BE(4 + header.length);
	lengths.writeUInt32BE(header.length, 4);
	return new Promise((done, failed) => {
		const [host, port] = address.split(':');
		const socket = net.connect(Number(port), host, () =>
			socket.write(Buffer.concat([lengths, header])));
		let got = Buffer.alloc(0);
		socket.on('error', failed).on('data', data => {
			got = Buffer.concat([got, data]);
			if (got.length < 4 || got.length < 4 + got.readUInt32BE())
				return;
			socket.destroy();
			done(JSON.parse(got.subarray(8, 8 + (got.readUInt32BE(4) & 0xffffff))));
		});
	});
}

async function topic(name, queues, perm = 6) {
	const t = fresh(name);
	const made = await ask(broker, 17, { topic: t, defaultTopic: 'TBW102',
		readQueueNums: `${queues}`, writeQueueNums: `${queues}`, perm: `${perm}`,
		topicFilterType: 'SINGLE_TAG', topicSysFlag: '0', order: 'false' });
	check(made.code === 0, `topic refused: ${made.code}`);
	await until(40, 'a route', async () => (await ask(namesrv, 105, { topic: t })).code === 0);
	return t;
}

async function producer(options = {}) {
	const p = new Producer({ nameSrv: namesrv, httpclient: {}, producerGroup: 'node-producers', logger: silent,
		instanceName: `p${++instances}-${process.pid}`, sendMsgTimeout: 20000, ...options });
	p.on('error', () => {});
	await p.ready();
	return p;
}

// The handler may throw, which gives the message back.
async function consumer(group, t, tags, handler = () => {}, options = {}) {
	const c = new Consumer({ nameSrv: namesrv, httpclient: {}, consumerGroup: fresh(group), logger: silent,
		instanceName: `c${++instances}-${process.pid}`,
		consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET', ...options });
	c.got = [];
	c.on('error', () => {});
	c.subscribe(t, tags, async m => {
		c.got.push(m);
		await handler(m);
	});
	await c.ready();
	c.bodies = () => c.got.map(m => m.body.toString());
	c.arrived = async (n, quiet = 1500) => {
		await until(100, `${n} messages`, () => c.got.length >= n);
		for (let before = -1; before !== c.got.length; await sleep(quiet))
			before = c.got.length;
		return c;
	};
	return c;
}

const sorted = (...all) => [...new Set(all.flatMap(c => c.bodies()))].sort();
const distinct = c => `got ${c.got.length} distinct ${sorted(c).length}`;

async function fill(t, prefix, count) {
	const p = await producer();
	for (let i = 0; i < count; i++)
		await p.send(new Message(t, '', `${prefix}${i}`));
	await p.close();
}

const cases = {
	async 'send'() {
		const t = await topic('send', 4);
		const p = await producer();
		const queues = {};
		const states = new Set();
		for (let i = 0; i < 8; i++) {
			const r = await p.send(new Message(t, '', `m${i}`));
			states.add(r.sendStatus);
			(queues[r.messageQueue.queueId] ||= []).push(Number(r.queueOffset));
		}
		await p.close();
		return `${[...states]} ${JSON.stringify(queues)}`;
	},
	async 'send-unknown-topic'() {
		const t = fresh('made-by-sending');
		const p = await producer();
		let said;
		try {
			said = (await p.send(new Message(t, '', 'first'))).sendStatus;
		} catch (e) {
			said = `refused ${e.code}`;
		}
		await p.close();
		return said;
	},
	async 'send-large'() {
		const t = await topic('large', 1);
		const text = 'compressible '.repeat(8000);
		const p = await producer({ maxMessageSize: 8 << 20 });
		await p.send(new Message(t, '', text));
		let over = 'accepted';
		try { // does not shrink
			const noise = require('crypto').randomBytes((4 << 20) + (1 << 16));
			await p.send(new Message(t, '', noise));
		} catch (e) {
			over = `refused ${e.code || e.name}`;
		}
		await p.close();
		const c = await consumer('large-g', t, '*');
		await c.arrived(1);
		await c.close();
		check(c.bodies()[0] === text, 'body differs');
		return `read back the same; more than 4 MiB ${over}`;
	},
	async 'send-read-only'() {
		const t = await topic('read-only', 1, 4);
		const p = await producer({ retryTimesWhenSendFailed: 0 });
		let said;
		try {
			said = (await p.send(new Message(t, '', 'x'))).sendStatus;
		} catch (e) {
			said = 'refused';
		}
		await p.close();
		return said;
	},
	async 'consume'() {
		const t = await topic('consume', 4);
		const c = await consumer('consume-g', t, '*');
		await fill(t, 'm', 100);
		await c.arrived(100);
		await c.close();
		return distinct(c);
	},
	async 'consume-properties'() {
		const t = await topic('properties', 1);
		const p = await producer();
		const m = new Message(t, 'tag', 'body');
		m.keys = ['k1', 'k2'];
		m.properties.own = 'ä€😀 =:;';
		await p.send(m);
		await p.send(new Message(t, '', 'untagged'));
		await p.close();
		const c = await consumer('properties-g', t, '*');
		await c.arrived(2);
		await c.close();
		const [one, two] = c.got;
		return [one.tags, one.keys, one.properties.own, one.topic === t, `untagged: ${two.tags}`]
			.join('|');
	},
	async 'consume-tags'() {
		const t = await topic('tags', 2);
		const c = await consumer('tags-g', t, 'a || Aa');
		const p = await producer();
		for (const tag of ['a', 'b', 'Aa', 'BB', 'c'])
			await p.send(new Message(t, tag, tag));
		await p.close();
		await c.arrived(2);
		await c.close();
		return sorted(c).join(' ');
	},
	async 'consume-retried'() {
		const t = await topic('retried', 2);
		const c = await consumer('retried-g', t, '*', m => {
			check(m.reconsumeTimes >= 2 || m.body.toString() !== 'm3', 'not now');
		});
		await fill(t, 'm', 6);
		await c.arrived(8, 2500);
		await c.close();
		const tries = c.got.filter(m => m.body.toString() === 'm3')
			.map(m => `${m.reconsumeTimes} of ${m.topic}`);
		return `${distinct(c)} [${tries.join(', ')}]`;
	},
	async 'consume-broadcast'() {
		const t = await topic('broadcast', 2);
		const all = [];
		for (let i = 0; i < 2; i++)
			all.push(await consumer('broadcast-g', t, '*', () => {}, { isBroadcast: true }));
		await fill(t, 'm', 20);
		for (const c of all) {
			await c.arrived(20);
			await c.close();
		}
		return all.map(distinct).join('; ');
	},
	async 'consume-continued'() {
		const t = await topic('continued', 2);
		const said = [];
		for (let round = 0; round < 2; round++) {
			await fill(t, `r${round}-`, 6);
			const c = await consumer('continued-g', t, '*');
			await c.arrived(6);
			await c.close();
			said.push(sorted(c).join(' '));
		}
		return said.join('; ');
	},
	async 'group-join-leave'() {
		const t = await topic('join', 4);
		const one = await consumer('join-g', t, '*');
		await fill(t, 'alone', 20);
		await one.arrived(20, 6000);
		const two = await consumer('join-g', t, '*');
		let sent = 20;
		await until(60, 'both are given some', async () => {
			await fill(t, `both${sent}-`, 8);
			sent += 8;
			return two.got.length > 0;
		});
		await until(60, 'all', () => sorted(one, two).length === sent);
		await two.close();
		await fill(t, 'after', 20);
		await until(60, 'all', () => sorted(one, two).length === sent + 20);
		await one.close();
		return 'none lost';
	},
};

const normal = text => text.replaceAll(`-${stamp}`, '').replaceAll(namesrv, 'NAMESRV')
	.replaceAll(broker, 'BROKER').replace(/\s+/g, ' ').trim();

const wanted = name => patterns.length === 0 || patterns.some(p =>
	new RegExp(`^${p.replaceAll('.', '\\.').replaceAll('*', '.*')}$`).test(name));

async function run(body) {
	const limit = sleep(150000).then(() => check(false, 'no end after 150 s'));
	try {
		return `ok ${await Promise.race([body(), limit])}`;
	} catch (e) {
		return `fail ${e.message}`;
	}
}

(async () => {
	const chosen = Object.keys(cases).filter(name => wanted(`node.${name}`));
	let bad = 0;
	for (const name of chosen) { // clients of one process share connections
		const outcome = await run(cases[name]);
		bad |= outcome.startsWith('fail') ? 1 : 0;
		console.log(`case node.${name} ${normal(outcome)}`);
	}
	process.exit(bad);
})();
