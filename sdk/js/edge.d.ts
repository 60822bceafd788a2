// Types of plugins in JavaScript, for editors: put `/// <reference path="edge.d.ts" />` or `// @ts-check` to use.

declare module "edge" {
	/** What the host refuses. code: unavailable, timeout, invalid, too-large, unsupported, internal, denied, not-found, condition, exists, closed, limit, phase. */
	export class EdgeError extends Error { readonly code: string; }

	/** The plugin's config of edge.yaml: parsed if it is JSON, which all but texts are; undefined if there is none. */
	export const config: any;
	export const rawConfig: string;
	/** Of the file, without .js. */
	export const name: string;

	/** Variables of the request; later plugins, PHP and the access log see them. */
	export const vars: { get(name: string): string | undefined; set(name: string, value: string): void };

	type Bytes = string | ArrayBuffer | ArrayBufferView;
	interface SetOptions { ttl?: number; ifAbsent?: boolean; ifPresent?: boolean; ifVersion?: number; keepTTL?: boolean }
	type Operation = ["get", string] | ["set", string, Bytes, SetOptions?] | ["delete", string] | ["incr", string, number?] | ["expire", string, number];

	/** A store of edge.yaml; allow.kv must name it. Times to live are milliseconds; none is for ever. */
	export class Store {
		get(key: string): string | undefined;
		getBytes(key: string): Uint8Array | undefined;
		getJSON(key: string): any;
		getEntry(key: string): { bytes: Uint8Array; value: string; ttl?: number; version: number } | undefined;
		/** false: the condition did not hold. */
		set(key: string, value: Bytes, options?: SetOptions): boolean;
		setJSON(key: string, value: any, options?: SetOptions): boolean;
		delete(key: string, options?: { ifVersion?: number }): boolean;
		expire(key: string, ttl?: number): boolean;
		incr(key: string, delta?: number, options?: { ttl?: number }): number;
		keys(prefix?: string, page?: number): Generator<string>;
		batch(operations: Operation[]): (string | number | boolean | undefined | EdgeError)[];
	}
	export function kv(store: string): Store;

	export class Socket {
		/** At least one byte; null at the end. */
		read(max?: number, options?: { timeout?: number }): Uint8Array | null;
		write(data: Bytes, options?: { timeout?: number }): number;
		close(): void;
	}
	/** "host:port", which allow.net must name. */
	export function connect(address: string, options?: { tls?: boolean; timeout?: number }): Socket;

	interface FetchOptions { method?: string; headers?: HeadersInit; body?: Bytes; timeout?: number }
	export function fetch(url: string, options?: FetchOptions): Response;
	/** A request to a PHP pool of allow.php. */
	export function php(pool: string, path: string, options?: FetchOptions): Response;

	export const metrics: {
		counter(name: string): { add(n?: number): void };
		gauge(name: string): { add(n?: number): void; set(n: number): void };
		histogram(name: string): { observe(n: number): void };
	};
	export const queue: { push(item: Bytes): void; pop(): string | undefined; popBytes(): Uint8Array | undefined };
	/** To all that subscribed to a topic of allow.publish. */
	export function publish(topic: string, data: Bytes): void;
	/** A connection by its id, to send to it from elsewhere. */
	export function connection(id: string): Connection;
	/** From now on tick is called so often; 0 stops. */
	export function every(ms: number): void;
	/** Turns features on, at the top level for all requests, in request for this one; gives those that are on. */
	export function enable(...features: ("request" | "response" | "trailers")[]): string[];
	export function logEnabled(level: "debug" | "info" | "warn" | "error"): boolean;
	export function has(name: string): boolean;
	export function now(): number;
	/** The time of the operation of a KV driver that runs, as now(), without a call of the host. */
	export function operationTime(): number;
	/** Milliseconds that this call has left. */
	export function deadline(): number | undefined;
	/** Sends what was written of the answer so far. */
	export function flush(): void;
	export function lastError(): string;
	/** For route(): decides call by call; return true then. */
	export const router: {
		to(route: string): void; pool(name: string): void; rewrite(uri: string): void; redirect(status: number, url: string): void;
		status(code: number): void; cache(parts: string | string[], ms: number): void;
	};

	interface Body { text(): string; json(): any; bytes(): Uint8Array; arrayBuffer(): ArrayBuffer; read(max?: number): Uint8Array | null; write(data: Bytes): void }
	export interface Request extends Body {
		method: string;
		uri: string;
		readonly path: string;
		readonly query: string;
		readonly protocol: string;
		readonly remoteAddress: string;
		readonly headers: Headers;
		readonly trailers: Headers;
		[property: string]: any;
	}
	export interface ServerResponse extends Body {
		status: number;
		readonly headers: Headers;
		readonly trailers: Headers;
		[property: string]: any;
	}
	export interface Connection {
		readonly id: string;
		send(data: Bytes): void;
		subscribe(topic: string): void;
		unsubscribe(topic: string): void;
		close(code?: number, reason?: string): void;
		/** Whose the connection is: the sub of its token, or what was set; "" is nobody's. */
		user: string;
		/** An attribute: a claim that ws.raw.NAME.jwt.attributes of edge.yaml names, or what was set. */
		get(name: string): string | undefined;
		/** An empty value takes the attribute away. */
		set(name: string, value: string): void;
	}
	type Decision = { to?: string; pool?: string; rewrite?: string; redirect?: string; status?: number; cache?: string | string[]; cacheFor?: number };
	type Maybe<T> = T | void | null | Promise<T | void | null>;

	/** A KV driver. Its functions are not async. Throw an EdgeError-like {code: "unavailable"} for errors. */
	export interface Driver {
		features?: ("ttl" | "cas" | "shared" | "evict")[];
		open?(config: any): void;
		get(key: string): Bytes | { value: Bytes; ttl?: number; version?: number } | undefined;
		/** A new version, or false: the condition did not hold. */
		set(key: string, value: Uint8Array, options: SetOptions): number | false | void;
		delete(key: string, options: { ifVersion?: number }): boolean | void;
		incr?(key: string, delta: number, options: { ttl?: number }): number;
		expire?(key: string, ttl?: number): boolean | void;
		scan?(prefix: string, cursor: string | undefined, max: number): { keys: string[]; cursor?: string };
		clear?(): void;
		tick?(now: number): void;
		close?(): void;
	}

	export interface Plugin {
		configure?(config: any): Maybe<void>;
		request?(req: Request, res: ServerResponse): Maybe<Response | ServerResponse>;
		response?(req: Request, res: ServerResponse, failed: boolean): Maybe<Response>;
		/** Of res, only the headers: they are on whatever answers. */
		route?(req: Request, res: ServerResponse): Maybe<Decision | boolean>;
		tick?(now: number): Maybe<void>;
		every?: number;
		websocket?: {
			open?(conn: Connection, req: Request): Maybe<number>;
			message?(conn: Connection, data: string | Uint8Array): Maybe<number>;
			close?(conn: Connection, code: number): Maybe<void>;
		};
		kv?: Driver;
		bufferRequest?: boolean;
		bufferResponse?: boolean;
		trailers?: boolean;
	}
}
