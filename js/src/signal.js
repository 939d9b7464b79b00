import { report } from './error.js';
import { Stream } from './stream.js';


/* Tells listeners, in the manner of js-signals, and loops. */
export class Signal {
    #bindings = [];         /* the highest priority first */
    #streams = new Set();
    #halted = false;
    #over = false;

    constructor() {
        /* may be passed on as a function */
        this.dispatch = this.dispatch.bind(this);
    }

    add(listener, context, priority) {
        return this.#bind(listener, context, priority, false);
    }

    addOnce(listener, context, priority) {
        return this.#bind(listener, context, priority, true);
    }

    remove(listener, context) {
        this.#find(listener, context)?.detach();
    }

    removeAll() {
        for (const binding of [...this.#bindings]) {
            binding.detach();
        }
    }

    has(listener, context) {
        return this.#find(listener, context) !== undefined;
    }

    getNumListeners() {
        return this.#bindings.length;
    }

    halt() {
        this.#halted = true;
    }

    dispatch(...args) {
        for (const stream of [...this.#streams]) {
            stream.push(args[0]);
        }

        this.#halted = false;

        for (const binding of [...this.#bindings]) {
            if (this.#bindings.includes(binding)) {
                this.#tell(binding, args);
            }

            if (this.#halted) {
                break;
            }
        }
    }

    dispose() {
        this.#over = true;
        this.removeAll();

        for (const stream of [...this.#streams]) {
            stream.end();
        }
    }

    [Symbol.asyncIterator]() {
        const stream = new Stream({}, undefined,
                                  () => this.#streams.delete(stream));

        this.#over ? stream.end() : this.#streams.add(stream);
        return stream;
    }

    #bind(listener, context, priority = 0, once) {
        let binding = this.#find(listener, context);

        if (binding === undefined) {
            binding = { listener, context, priority, once,
                        detach: () => this.#detach(binding) };

            const next = this.#bindings.findIndex((other) =>
                other.priority < priority);

            this.#bindings.splice(next < 0 ? this.#bindings.length : next, 0,
                                  binding);
        }

        return binding;
    }

    #detach(binding) {
        this.#bindings = this.#bindings.filter((other) => other !== binding);
    }

    #find(listener, context) {
        return this.#bindings.find((binding) =>
            binding.listener === listener && binding.context === context);
    }

    /* as with js-signals, a listener that returns false halts, too */
    #tell(binding, args) {
        if (binding.once) {
            binding.detach();
        }

        try {
            if (binding.listener.apply(binding.context, args) === false) {
                this.#halted = true;
            }

        } catch (error) {
            report(error);
        }
    }
}


/* those that are fields of somebody who has ended */
export function disposeAll(owner) {
    for (const value of Object.values(owner)) {
        if (value instanceof Signal) {
            value.dispose();
        }
    }
}
