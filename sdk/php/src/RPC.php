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
        $name = \strlen($method);
        $size = $name + \strlen($message);
        if ($this->relay === null || $this->tcp || $size > self::SHORT || Trace::$options !== '') {
            return $this->exchange(\ord($codec), $method, $message);
        }
        // The shortest way, for calls that follow each other by the thousand: the first half of a header depends on nothing but
        // the size, so its checksum is made once.
        if (null === $head = $this->heads[$codec][$size] ?? null) {
            $head = "\x15" . $codec . \pack('V', $size);
            $this->heads[$codec][$size] = $head .= \pack('Vv', \crc32($head), 0);
        }
        // The lowest byte of the number is enough to tell an answer from that of a call that was given up.
        $number = $this->calls = $this->calls + 1 & 0xff;
        $mark = \chr($number) . ($this->marks[$method] ??= "\0\0\0" . \pack('V', $name) . $method);
        try {
            $answer = $this->relay->answer($head . $mark . $message, $mark);
        } catch (ConnectionException $e) {
            $this->relay = null;
            if ($e->getCode() !== Relay::NOTHING_SENT) {
                throw $e;
            }

            return $this->exchange(\ord($codec), $method, $message);
        }

        return $answer ?? $this->take($method, $number);
    }

    /** The largest call that goes the shortest way: one that a socket takes whole or not at all. */
    private const SHORT = 4096;

    /** @var array<string, array<int, string>> The first twelve bytes of a call, by its codec and the size of its payload. */
    private array $heads = [];

    /** @var array<string, string> What follows the lowest byte of the number in a call of a method: the rest of it, length and name. */
    private array $marks = [];

    private function exchange(int $codec, string $method, string $argument): string
    {
        $number = $this->calls = $this->calls + 1 & 0xffffffff;
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
            // An answer that comes late would be taken for that of a later call.
            $this->relay = null;
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
                $this->relay = null;
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
                $this->relay = null;
                throw new RPCException($answer, $method);
            }

            return (string) \json_decode($answer);
        };
        $nonce = $ask('rpc.Challenge', true);
        $ask('rpc.Authenticate', \hash_hmac('sha256', "edge-rpc:$nonce", $this->secret));
    }
}
