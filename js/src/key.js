/*
 * The text by which Maps know a channel, a name, a document: the server
 * compares these by value, whatever the order of their keys.
 */
export function key(value) {
    return JSON.stringify(value, (_, part) =>
        part === null || typeof part !== 'object' || Array.isArray(part) ? part
            : Object.fromEntries(Object.entries(part).sort(byName)));
}


function byName([a], [b]) {
    return a < b ? -1 : 1;
}
