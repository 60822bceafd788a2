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

    /**
     * @param string|null $address unix:///path or tcp://host:port; by default EDGE_RPC or RR_RPC of the environment, which the
     *                             server sets
     * @param float       $timeout seconds to wait for an answer; 0 waits for ever
     */
    public function __construct(?string $address = null, private readonly float $timeout = 30.0)
    {
        $this->address = $address ?? (\getenv('EDGE_RPC') ?: \getenv('RR_RPC') ?: 'tcp://127.0.0.1:6001');
    }

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
        return $this->exchange(Frame::PROTO, $method, $message);
    }

    private function exchange(int $codec, string $method, string $argument): string
    {
        $number = $this->calls = $this->calls + 1 & 0xffffffff;
        $this->send(Frame::call($codec, $number, $method, $argument));
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
        $tcp = \str_starts_with($this->address, 'tcp:');
        // Nothing is due between calls, so what can be read is the end. A unix socket tells by refusing the write.
        if ($this->relay !== null && !($tcp && $this->relay->readable())) {
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
        $this->relay->send($frame);
    }
}
