/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Cases of t/js_client.t: constructors, addresses, and what is said before the
 * connection stands.
 */

import {
    Snorky, WebSocket, assert, connect, connected, during, failure, fails,
    figure, has, it, next, pause, port, record, run, uncaught, until, url,
} from './lib.mjs';
import { Proxy } from './proxy.mjs';

const services = {
    echo: Snorky.Service,
    pubsub: Snorky.PubSub,
    messaging: Snorky.Messaging,
    chat: Snorky.Chat,
    datasync: Snorky.DataSync,
};

const as = (user) => url(`/ws?user=${user}`);


/* -------------------------------------------------------------- connecting */

async function constructing() {
    await it('it connects by itself', async () => {
        const snorky = connect(url('/ws'), services);

        assert.equal(snorky.isConnected, false);
        assert.equal(snorky.isConnecting, true);
        assert.equal(snorky.state.state, 'connecting');
        assert.equal(snorky.socket, null);

        await next(snorky.connected);

        assert.equal(snorky.isConnected, true);
        assert.equal(snorky.isConnecting, false);
        assert.deepEqual(snorky.state, { state: 'open' });
        assert.equal(snorky.transport, 'websocket');
        assert.ok(snorky.socket instanceof WebSocket);
        assert.equal(snorky.states.at(-1).state, 'open');
    });

    await it('or when it is told to', async () => {
        const proxy = await Proxy.start(port);
        const snorky = connect(url('/ws', proxy.port), services,
                               { autoConnect: false });

        snorky.services.echo.sendMessage(1);
        assert.equal(snorky.state.state, 'idle');
        assert.equal(snorky.isConnecting, false);

        /* a timer later there is still no attempt */
        await pause(50);
        assert.equal(proxy.accepted, 0);

        snorky.connect();
        snorky.connect();
        await snorky.ready();
        assert.deepEqual(await next(snorky.services.echo.packetReceived), 1);
        assert.equal(proxy.accepted, 1);
    });

    await it('ready() waits, and is rejected when it can not be', async () => {
        const snorky = connect(url('/ws'), services);

        await Promise.all([snorky.ready(), snorky.ready()]);
        await snorky.ready();
        snorky.disconnect();
        await fails(snorky.ready({ timeout: 30 }), 'timeout');

        const late = snorky.ready();

        snorky.close();
        await fails(late, 'closed');
        await fails(snorky.ready(), 'closed');
    });

    await it('ready() can be aborted', async () => {
        const snorky = connect(url('/ws'), services, { autoConnect: false });
        const controller = new AbortController();
        const ready = snorky.ready({ signal: controller.signal });

        controller.abort(Error('no time'));
        assert.equal((await failure(ready)).message, 'no time');
    });

    await it('it disconnects, and connects again', async () => {
        const snorky = await connected(url('/ws'), services);
        const told = record(snorky.disconnected);

        snorky.disconnect();
        assert.equal(snorky.isConnected, false);
        await has(told, 1);
        assert.equal(snorky.state.state, 'idle');
        snorky.connect();
        await snorky.ready();
        assert.equal(told.length, 1);
    });

    await it('restart() makes another connection', async () => {
        const snorky = await connected(url('/ws'), services);
        const { socket } = snorky;

        snorky.restart();
        await next(snorky.connected);
        assert.notEqual(snorky.socket, socket);
        await until(() => socket.readyState === WebSocket.CLOSED);
        await figure('sessions_websocket', 1);
    });

    await it('the URL may be a URL', async () => {
        const snorky = await connected(new URL(url('/ws')), services);

        assert.equal(snorky.isConnected, true);
    });

    await it('or of http', async () => {
        await connected(url('/ws').replace('ws:', 'http:'), services);
    });

    await it('or a function, asked for each connection', async () => {
        let asked = 0;
        const where = async () => {
            await null;
            asked++;
            return new URL(as(`user${asked}`));
        };

        const snorky = await connected(where, services);
        const join = () => snorky.services.chat.join({ channel: asked });

        assert.deepEqual((await join()).members, ['user1']);
        snorky.restart();
        await next(snorky.connected);
        assert.deepEqual((await join()).members, ['user2']);
    });

    await it('one that fails is a failed attempt', async () => {
        let asked = 0;
        const where = () => {
            asked++;

            if (asked === 2) {
                throw Error('thrown');
            }

            return asked < 4 ? Promise.reject(Error('rejected')) : url('/ws');
        };

        const snorky = await connected(where, services);

        assert.equal(asked, 4);
        assert.equal(snorky.states.filter(({ state }) =>
            state === 'waiting').length, 3);
        assert.deepEqual(snorky.states.filter(({ wasOpen }) =>
            wasOpen === false).map(({ reason }) => reason),
            ['rejected', 'thrown', 'rejected']);
    });

    await it('a relative URL needs a page', async () => {
        for (const where of ['/ws', async () => '/ws']) {
            const snorky = connect(where, services);
            const error = await fails(snorky.ready(), 'refused');

            assert.match(error.message, /relative|absolute|page|location/i);
        }
    });

    await it('without a WebSocket it says what is missing', async () => {
        assert.equal(globalThis.WebSocket, undefined);
        assert.throws(() => during(new Snorky(url('/ws'), services)),
                      /WebSocket/);
    });

    await it('subprotocols are offered', async () => {
        const snorky = await connected(url('/ws'), services,
                                       { protocols: ['zero', 'two'] });

        assert.equal(snorky.socket.protocol, 'two');
    });

    await it('unknown services and other texts are passed over', async () => {
        const snorky = await connected(url('/ws'), { echo: Snorky.Service });
        const { echo } = snorky.services;
        const told = record(echo.packetReceived);
        const { onmessage } = snorky.socket;

        for (const data of ['{', '1', 'null', '[]', '{"service":"nobody"}',
                            '{"service":"constructor","message":1}',
                            '{"service":"__proto__","message":1}'])
        {
            onmessage.call(snorky.socket, { data });
        }

        echo.sendMessage('still there');
        await has(told, 1);
        assert.deepEqual(told, ['still there']);
    });

    await it('a listener that throws harms no other', async () => {
        const snorky = await connected(url('/ws'), services);
        const { echo } = snorky.services;
        const told = [];

        echo.packetReceived.add(() => { throw Error('mine'); });
        echo.packetReceived.add((message) => told.push(message));
        echo.sendMessage(1);
        echo.sendMessage(2);
        await has(told, 2);
        await until(() => told.length === 2);
        assert.deepEqual(uncaught().map(({ message }) => message),
                         ['mine', 'mine']);
        assert.equal(snorky.isConnected, true);
    });
}


/* ---------------------------------------------------------- the original's */

async function original() {
    await it('the original\'s constructor connects as well', async () => {
        const snorky = during(new Snorky(WebSocket, url('/ws'), services));

        assert.deepEqual([snorky.isConnected, snorky.isConnecting],
                         [false, true]);
        await next(snorky.connected);
        assert.deepEqual([snorky.isConnected, snorky.isConnecting],
                         [true, false]);
        assert.equal(snorky.address, url('/ws'));
        assert.equal(snorky.socketClass, WebSocket);
        assert.equal(snorky._socket, snorky.socket);
    });

    await it('it does not come back by itself', async () => {
        const proxy = await Proxy.start(port);
        const snorky = during(new Snorky(WebSocket, url('/ws', proxy.port),
                                         services));

        await snorky.ready();
        await snorky.services.pubsub.subscribe({ channel: 'a' });
        proxy.cut();
        await next(snorky.disconnected);
        assert.deepEqual([snorky.isConnected, snorky.isConnecting],
                         [false, false]);
        assert.equal(proxy.accepted, 1);
    });

    await it('but if a listener of "disconnected" connects', async () => {
        const proxy = await Proxy.start(port);
        const snorky = during(new Snorky(WebSocket, url('/ws', proxy.port),
                                         services));

        snorky.disconnected.add(() => snorky.connect());
        await snorky.ready();
        proxy.cut();
        await next(snorky.connected);
        assert.equal(proxy.accepted, 2);

        /* and subscribes: nothing has been kept */
        assert.equal(await snorky.services.pubsub.subscribe({ channel: 'a' }),
                     null);
        assert.equal(proxy.sent.length, 1);
    });

    await it('disconnect() ends it at once, and tells it later', async () => {
        const snorky = during(new Snorky(WebSocket, url('/ws'), services));

        await snorky.ready();

        const told = record(snorky.disconnected);
        const { socket } = snorky;

        snorky.disconnect();
        assert.equal(snorky.isConnected, false);
        assert.equal(told.length, 0);
        await has(told, 1);
        assert.equal(socket.readyState, WebSocket.CLOSED);
        snorky.connect();
        await snorky.ready();
    });

    await it('what it is told meanwhile is sent by the next one', async () => {
        const snorky = during(new Snorky(WebSocket, url('/ws'), services));
        const { pubsub, echo } = snorky.services;
        const told = record(echo.packetReceived);

        await snorky.ready();
        snorky.disconnect();
        await next(snorky.disconnected);

        const answer = pubsub.subscribe({ channel: 'a' });

        echo.sendMessage('later');
        snorky.connect();
        assert.equal(await answer, null);
        await has(told, 1);
    });

    await it('a call under way is rejected when the connection ends',
        async () => {
            const proxy = await Proxy.start(port);
            const snorky = during(new Snorky(WebSocket, url('/ws', proxy.port),
                                             services));

            await snorky.ready();
            proxy.freeze();

            const call = snorky.services.pubsub.subscribe({ channel: 'a' });

            proxy.cut();

            const error = await fails(call, 'disconnected');

            assert.equal(String(error), 'Error: Connection closed');
        });

    await it('classes are made as the original\'s pages make them',
        async () => {
            const Calculator = new Snorky.Class(Snorky.RPCService, {
                STATIC: { kind: 'calculator' },

                constructor: function (name, snorky) {
                    Snorky.RPCService.call(this, name, snorky);
                    this.made = true;
                },

                init: function () {
                    Snorky.RPCService.prototype.init.call(this);
                    this.results = [];
                },
            });

            Calculator.addRPCMethods(['sum', 'fail']);

            const snorky = during(new Snorky(WebSocket, url('/ws'), {
                calculator: Calculator,
            }));
            const { calculator } = snorky.services;

            assert.ok(calculator instanceof Calculator);
            assert.ok(calculator instanceof Snorky.RPCService);
            assert.ok(calculator instanceof Snorky.Service);
            assert.equal(Calculator.kind, 'calculator');
            assert.equal(calculator.made, true);
            assert.deepEqual(calculator.results, []);
            assert.deepEqual(await calculator.sum({ a: 3, b: 4 }),
                             { asked: 'sum' });
            await fails(calculator.fail(), 'rpc', '409 Conflict');
        });

    await it('and old subclasses that send by themselves', async () => {
        const snorky = during(new Snorky(WebSocket, url('/ws'), services));
        const told = record(snorky.services.echo.packetReceived);

        snorky._sendServiceMessage('echo', 'early');
        await snorky.ready();
        snorky._sendServiceMessage('echo', 'late');
        await has(told, 2);
        assert.deepEqual(told, ['early', 'late']);
    });
}


/* ------------------------------------------------------------------ queue */

async function queueing() {
    await it('what is said before the connection stands is not lost',
        async () => {
            const proxy = await Proxy.start(port);
            const snorky = connect(url('/ws', proxy.port), services);
            const { echo, pubsub } = snorky.services;
            const told = record(echo.packetReceived);
            const heard = record(pubsub.messagePublished);
            const channel = 'early';

            ['one', { two: [2, null] }, 3].forEach((message) =>
                echo.sendMessage(message));

            const answers = Promise.all([
                pubsub.subscribe({ channel }),
                pubsub.publish({ channel, message: 'bird' }),
                pubsub.unsubscribe({ channel }),
                pubsub.unsubscribe({ channel }).catch(String),
            ]);

            assert.equal(snorky.isConnected, false);
            assert.deepEqual(await answers,
                             [null, null, null, 'Error: Not subscribed']);
            assert.deepEqual(told, ['one', { two: [2, null] }, 3]);
            assert.deepEqual(heard,
                [{ type: 'message', channel, message: 'bird' }]);

            assert.equal(proxy.sent.length, 7);
        });

    await it('it is sent in order, behind what a listener of "connected" says',
        async () => {
            const proxy = await Proxy.start(port);
            const snorky = connect(url('/ws', proxy.port), services);
            const { echo } = snorky.services;
            const told = record(echo.packetReceived);

            for (let n = 0; n < 200; n++) {
                echo.sendMessage(n);
            }

            snorky.connected.add(() => echo.sendMessage('connected'));
            await has(told, 201);
            assert.deepEqual(told, ['connected', ...Array(200).keys()]);
        });

    await it('many calls of several services have their own answers',
        async () => {
            const { services: { pubsub, messaging } } =
                await connected(url('/ws'), services);
            const calls = [];

            for (let n = 0; n < 100; n++) {
                calls.push(pubsub.unsubscribe({ channel: n }),
                           messaging.unregisterParticipant({ name: n }),
                           messaging.listParticipants());
            }

            const all = await Promise.all(calls.map((call) =>
                call.catch(String)));

            assert.deepEqual([...new Set(all.map((answer, n) =>
                `${n % 3} ${JSON.stringify(answer)}`))], [
                '0 "Error: Not subscribed"',
                '1 "Error: Unknown participant"',
                '2 []',
            ]);
        });

    await it('the service\'s errors are what it says', async () => {
        const { services: { pubsub, datasync } } =
            await connected(url('/ws'), services);

        await fails(pubsub.rpcCall('explode'), 'rpc', 'Unknown command');
        await fails(pubsub.subscribe({ chanel: 1 }), 'rpc', 'Invalid params');
        await fails(datasync.acquireSubscription({ token: 1 }), 'rpc',
                    'token must be string');
    });
}


await run(constructing, original, queueing);
