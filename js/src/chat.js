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

    async join(params, options) {
        const { members } = await this._calls.take(CHANNEL, params, options);

        return { members: [...members] };
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
            this._count(content);
            this._calls.tell(CHANNEL, content, content);
            this[`${type}Received`].dispatch(content);
        }
    }

    /* who joins what a loop has joined is to know its members of now */
    _count({ channel, from, status }) {
        const { data } = this._calls.get(CHANNEL, { channel }) ?? {};

        if (data && status) {
            data.members = data.members.filter((name) => name !== from)
                .concat(status === 'joined' ? from : []);
        }
    }
});

Chat.addRPCMethods(['send', 'read']);
