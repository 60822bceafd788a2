<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\ConnectionException;
use Edge\Exception\EdgeException;
use Edge\Exception\ProtocolException;
use Edge\Exception\RPCException;
use Edge\Exception\UnknownMethodException;

/**
 * Calls services of the server that this worker belongs to:
 *
 *     $version = (new RPC())->call('rpc.Version', true);
 *
 * The connection is made by the first call and kept. When it turns out to be gone before a call was sent, the call goes over a
 * new one; when it breaks after that, the call fails with a ConnectionException, since it may have been carried out.
 */
final class RPC
{
    private ?Relay $relay = null;
    private int $calls = 0;

    public readonly string $address;

    private readonly bool $tcp;

    private readonly string $secret;

    /**
     * @param string|null $address unix:///path or tcp://host:port; by default EDGE_RPC or RR_RPC of the environment, which the
     *                             server sets
     * @param float       $timeout seconds to wait for an answer; 0 waits for ever
     * @param string|null $secret  rpc.secret of a server that is reached over TCP; by default EDGE_RPC_SECRET of the environment
     */
    public function __construct(?string $address = null, public readonly float $timeout = 30.0, ?string $secret = null)
    {
        $this->secret = $secret ?? (string) \getenv('EDGE_RPC_SECRET');
        $this->address = $address ?? (\getenv('EDGE_RPC') ?: \getenv('RR_RPC') ?: 'tcp://127.0.0.1:6001');
        $this->tcp = \str_starts_with($this->address, 'tcp:');
    }

    /** The connection of this process to its server: all that do not say theirs share it. */
    public static function shared(): self
    {
        // A forked child would read the answers of its parent.
        if (self::$shared === null || self::$process !== \getmypid()) {
            self::$shared = new self();
            self::$process = \getmypid();
        }

        return self::$shared;
    }

    private static ?self $shared = null;
    private static int|false $process = false;

    /** Calls a method with JSON: what json_encode() makes of $argument goes out, and what json_decode() makes of the answer comes back. */
    public function call(string $method, mixed $argument = null): mixed
    {
        $answer = $this->exchange(Frame::JSON, $method, \json_encode($argument, \JSON_THROW_ON_ERROR | \JSON_UNESCAPED_SLASHES));
        if ($answer === '') {
            return null;
        }
        try {
            return \json_decode($answer, true, 512, \JSON_THROW_ON_ERROR);
        } catch (\JsonException $e) {
            throw new ProtocolException("the answer of $method is not JSON", 0, $e);
        }
    }

    /** Calls a method with protobuf: the message that was encoded goes out as it is, and so the answer comes back. */
    public function callProto(string $method, string $message): string
    {
        return $this->callBytes("\x80", $method, $message);
    }

    /**
     * Calls a method with bytes, and returns those of the answer.
     *
     * @internal
     *
     * @param string $codec the flag of the frame: "\x80" is protobuf, "\x04" raw
     */
    public function callBytes(string $codec, string $method, string $message): string
    {
        // The shortest way, for calls that follow each other by the thousand: one write, one read, no parts made of what comes.
        $mark = ($this->marks[$method] ?? $this->mark($method))[$turn = $this->turn ^= 1];
        $size = \strlen($mark) + \strlen($message) - 8;
        $head = $this->heads[$codec][$size] ?? $this->head($codec, $size);
        if ($head === '' || $this->socket === null || Trace::$options !== '') {
            return $this->exchange(\ord($codec), $method, $message);
        }
        $frame = "$head$mark$message";
        if (($sent = @\fwrite($this->socket, $frame)) !== \strlen($frame)) {
            $this->drop();
            if ($sent !== false) {
                throw new ConnectionException(Relay::DEAF);
            }

            return $this->exchange(\ord($codec), $method, $message); // the server got nothing of it
        }
        $bytes = (string) @\fread($this->socket, $this->next);
        $size = \strlen($bytes) - 20;
        // An answer begins as a call of its size does.
        if (isset($this->heads[$codec][$size]) && \str_starts_with($bytes, $this->heads[$codec][$size] . $mark)) {
            $this->next = self::SMALL;

            return \substr($bytes, 12 + \strlen($mark));
        }

        return $this->parse($codec, $mark, $bytes) ?? $this->take($method, self::SHORT_NUMBERS | $turn);
    }

    /** Takes an answer out of what was read. null means that it is something else, or a part, and the relay has it. */
    private function parse(string $codec, string $mark, string $bytes): ?string
    {
        $this->next = self::SMALL;
        $skip = 12 + \strlen($mark);
        if (\strlen($bytes) >= $skip && $bytes[0] === "\x15" && $bytes[1] === $codec && \substr_compare($bytes, $mark, 12, $skip - 12) === 0) {
            $size = \unpack('V', $bytes, 2)[1];
            if ($size < self::SMALL) {
                $this->head($codec, $size);
            } else {
                $this->next = \min($size + 4096, self::LARGE);
            }
            if (\strlen($bytes) === $size + 20) {
                return \substr($bytes, $skip);
            }
        }
        try {
            $this->relay->giveBack($bytes);
        } catch (ConnectionException $e) {
            $this->drop();
            throw $e;
        }

        return null;
    }

    /** The largest call that goes the shortest way: one that a socket takes whole or not at all. */
    private const SHORT = 4096;

    /** How much is read at once: below SMALL, PHP allocates a buffer in no time, and an answer of the size of the one before comes whole. */
    private const SMALL = 2048;
    private const LARGE = 1 << 20;

    private int $next = self::SMALL;

    /** Calls that go the shortest way have two numbers by turns, which tell an answer from that of the call before. Others have lower ones. */
    private const SHORT_NUMBERS = 0xfffffffe;

    private int $turn = 0;

    /** @var resource|null The socket of the relay, if calls can go the shortest way over it: a unix socket tells by refusing a write that it is closed. */
    private $socket = null;

    /** @var array<string, array<int, string>> The first twelve bytes of a call, by its codec and the size of its payload. */
    private array $heads = [];

    /** Makes the first half of a header, which depends on nothing but the size; '' for a call that is too large. */
    private function head(string $codec, int $size): string
    {
        if ($size > self::SHORT) {
            return '';
        }
        $head = "\x15$codec" . \pack('V', $size);

        return $this->heads[$codec][$size] = $head . \pack('Vv', \crc32($head), 0);
    }

    /** @var array<string, array{string, string}> What follows that in a call of a method, by turns: number, length of the name, name. */
    private array $marks = [];

    /** @return array{string, string} */
    private function mark(string $method): array
    {
        $name = \pack('V', \strlen($method)) . $method;

        return $this->marks[$method] = [\pack('V', self::SHORT_NUMBERS) . $name, \pack('V', self::SHORT_NUMBERS | 1) . $name];
    }

    /** Forgets the connection: an answer that comes late would be taken for that of a later call. */
    private function drop(): void
    {
        $this->relay = $this->socket = null;
    }

    private function exchange(int $codec, string $method, string $argument): string
    {
        $number = $this->calls = $this->calls + 1 & 0x7fffffff;
        $this->send(Frame::call($codec, $number, $method, $argument, Trace::$options));

        return $this->take($method, $number);
    }

    /** Waits for the answer of a call. */
    private function take(string $method, int $number): string
    {
        $relay = $this->relay;
        try {
            if (!$relay->receive()) {
                throw new ConnectionException("the server at $this->address went away during $method");
            }
            $size = $relay->options[1] ?? -1;
            if (\count($relay->options) !== 2 || $relay->options[0] !== $number || $size < 0 || $size > \strlen($relay->payload)) {
                throw new ProtocolException("the server answered something else than $method");
            }
        } catch (EdgeException $e) {
            $this->drop();
            throw $e;
        }

        $answer = \substr($relay->payload, $size);
        $relay->payload = '';
        if ($relay->flags & Frame::ERROR) {
            throw \str_starts_with($answer, "rpc: can't find ")
                ? new UnknownMethodException($answer, $method)
                : new RPCException($answer, $method);
        }

        return $answer;
    }

    /** Sends a call; one of which the server got nothing because it has closed the connection goes over a new one. */
    private function send(string $frame): void
    {
        // Nothing is due between calls, so what can be read is the end. A unix socket tells by refusing the write.
        if ($this->relay !== null && !($this->tcp && $this->relay->readable())) {
            try {
                $this->relay->send($frame);

                return;
            } catch (ConnectionException $e) {
                $this->drop();
                if ($e->getCode() !== Relay::NOTHING_SENT) {
                    throw $e;
                }
            }
        }
        $this->relay = Relay::connect($this->address, $this->timeout);
        if ($this->tcp && $this->secret !== '') {
            $this->authenticate();
        }
        $this->relay->send($frame);
        $this->socket = $this->tcp ? null : $this->relay->socket();
    }

    /** Shows the server that this client knows rpc.secret; see docs/rpc.md. */
    private function authenticate(): void
    {
        $relay = $this->relay;
        $ask = function (string $method, string|bool $argument) use ($relay): string {
            $relay->send(Frame::call(Frame::JSON, 0, $method, \json_encode($argument)));
            if (!$relay->receive()) {
                throw new ConnectionException("the server at $this->address went away during $method");
            }
            $answer = \substr($relay->payload, \strlen($method));
            if ($relay->flags & Frame::ERROR) {
                $this->drop();
                throw new RPCException($answer, $method);
            }

            return (string) \json_decode($answer);
        };
        $nonce = $ask('rpc.Challenge', true);
        $ask('rpc.Authenticate', \hash_hmac('sha256', "edge-rpc:$nonce", $this->secret));
    }
}
