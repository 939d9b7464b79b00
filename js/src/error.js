/* What calls are rejected with; its name stays "Error", as of old. */
export class SnorkyError extends Error {
    constructor(code, message) {
        super(message);
        this.code = code;
    }
}


/* an error of the page's own code, which must not stop ours */
export function report(error) {
    queueMicrotask(() => { throw error; });
}
