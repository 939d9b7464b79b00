import { Signal } from './signal.js';
import { callable, RPCService } from './service.js';

const CHANNEL = {
    take: 'join', free: 'leave', by: 'channel', none: 'Not joined',
};


export const Chat = callable(class Chat extends RPCService {
    init() {
        super.init();
        this.messageReceived = new Signal();
        this.presenceReceived = new Signal();
        this.readReceived = new Signal();
    }

    join(params, options) {
        return this._calls.take(CHANNEL, params, options);
    }

    leave(params, options) {
        return this._calls.free(CHANNEL, params, options);
    }

    room(channel, options) {
        return {
            send: (body, more) => this.send({ channel, body }, more),
            read: (more) => this.read({ channel }, more),

            [Symbol.asyncIterator]: () =>
                this._calls.stream(CHANNEL, { channel }, options),
        };
    }

    onNotification(content) {
        const { type } = content ?? {};

        if (/^(message|presence|read)$/.test(type)) {
            this._calls.tell(CHANNEL, content, content);
            this[`${type}Received`].dispatch(content);
        }
    }
});

Chat.addRPCMethods(['send', 'read']);
