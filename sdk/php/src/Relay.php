<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\ConnectionException;
use Edge\Exception\ProtocolException;

/**
 * The way frames travel: the standard streams of a worker that the server started, or a socket.
 *
 * receive() leaves the parts of a frame in public properties instead of an object: it runs for every request.
 *
 * @internal
 */
final class Relay
{
    /** The flags of the frame that was received last. */
    public int $flags = 0;

    /** Its stream bits. */
    public int $stream = 0;

    /** The slot for the body of the answer, which the request names; 0 is none. See SharedMemory. */
    public int $slot = 0;

    /** Its number. */
    public int $number = 0;

    /** @var list<int> Its options. */
    public array $options = [];

    /** Its payload. */
    public string $payload = '';

    private const READ = 8192;
    private const READ_LARGE = 1 << 20;

    /** How much is asked for when the frame before was larger than READ: one read gets a body of the usual limits. */
    private const READ_NEXT = 256 << 10;

    private int $ask = self::READ;

    /** Bytes that were read and belong to later frames. */
    private string $buffer = '';

    /** @var list<array{int, int, list<int>, string, int}> Frames that were set aside while a PONG was awaited. */
    private array $waiting = [];

    /**
     * @param resource $in
     * @param resource $out
     */
    public function __construct(private $in, private $out)
    {
        // Frames are buffered here. A second buffer inside PHP would hide from stream_select() what has come.
        \stream_set_read_buffer($in, 0);
        \stream_set_blocking($in, true);
        \stream_set_blocking($out, true);
    }

    /** The relay that the server chose for this worker. */
    public static function ofWorker(): self
    {
        $address = \getenv('RR_RELAY') ?: 'pipes';

        return $address === 'pipes' ? new self(\STDIN, Output::takePipe()) : self::connect($address);
    }

    /** Connects to unix:///path or tcp://host:port. $timeout bounds connecting and every read; 0 means none. */
    public static function connect(string $address, float $timeout = 0): self
    {
        if (!\preg_match('#^(unix|tcp)://.#', $address)) {
            throw new ConnectionException("\"$address\" is not an address: write unix:///path or tcp://host:port");
        }
        $socket = @\stream_socket_client($address, $number, $text, $timeout > 0 ? $timeout : 10.0);
        if ($socket === false) {
            throw new ConnectionException("cannot connect to $address: $text", $number);
        }
        // A negative time means for ever; the default would be default_socket_timeout, a minute.
        $timeout > 0 ? \stream_set_timeout($socket, (int) $timeout, (int) (\fmod($timeout, 1) * 1e6)) : \stream_set_timeout($socket, -1);

        return new self($socket, $socket);
    }

    /** Reads the next frame into the properties; false means that the other side is gone. */
    public function receive(): bool
    {
        if ($this->waiting !== []) {
            [$this->flags, $this->stream, $this->options, $this->payload, $this->number] = \array_shift($this->waiting);

            return true;
        }

        return $this->read();
    }

    /**
     * Takes a request, context and body, the shortest way. null means that what comes is something else, or is still to come, and
     * receive() has it. What the checksum would find on a relay that lost a byte, the lengths find here.
     *
     * @return array{string, string}|null
     */
    public function request(): ?array
    {
        if ($this->buffer !== '' || $this->waiting !== []) {
            return null;
        }
        $bytes = (string) \fread($this->in, $this->ask);
        $length = \strlen($bytes);
        if ($length < 16 || $bytes[0] !== "\x14") {
            $this->buffer = $bytes;

            return null;
        }
        ['flags' => $flags, 'size' => $size, 'stream' => $stream, 'number' => $number, 'context' => $context]
            = \unpack('x/Cflags/Vsize/x4/Cstream/Cnumber/Vcontext', $bytes);
        if ($stream & 0x0f || $flags & (Frame::CONTROL | Frame::ERROR) || $context > $size || $length > $size + 16 || $length < $context + 16) {
            $this->buffer = $bytes;

            return null;
        }
        $this->flags = $flags;
        $this->slot = $stream >> 4;
        $this->number = $number;
        $this->ask = $size < self::READ ? self::READ : self::READ_NEXT;
        $body = $size === $context ? '' : \substr($bytes, $context + 16);
        if ($length < $size + 16) {
            $body = $this->fill($body, $missing = $size - $context);
            if (\strlen($body) > $missing) {
                $this->buffer = \substr($body, $missing);
                $body = \substr($body, 0, $missing);
            }
        }

        return [\substr($bytes, 16, $context), $body];
    }

    /**
     * The socket, for RPC, which writes and reads short calls itself, and gives back what it cannot make sense of.
     *
     * @return resource
     */
    public function socket()
    {
        return $this->in;
    }

    /** Takes bytes that were read past this relay, for receive(). Throws what it means that there are none. */
    public function giveBack(string $bytes): void
    {
        if ($bytes === '') {
            $this->explain();
        }
        $this->buffer = $bytes;
    }

    public const DEAF = 'the server does not read any more';

    /** What it means that the server did not take a frame of so many bytes. Below a MiB no limit is in question. */
    private static function deaf(int $size): string
    {
        return $size < 1 << 20 ? self::DEAF : self::DEAF . ": it has stopped, or $size bytes are more than rpc.max_frame of its edge.yaml (17MiB unless it says so)";
    }

    /** Sends a frame in a single write, which the reader of a pipe relies on. */
    public function send(string $frame): void
    {
        $size = \strlen($frame);
        $sent = @\fwrite($this->out, $frame);
        // Only a signal or a full buffer splits a write; what is left follows.
        while ($sent !== $size) {
            $more = $sent === false ? false : @\fwrite($this->out, \substr($frame, $sent));
            if ($more === false || $more === 0) {
                throw new ConnectionException(self::deaf($size), $sent === false ? self::NOTHING_SENT : 0);
            }
            $sent += $more;
        }
    }

    /** The code of the exception for a frame of which not a byte left. */
    public const NOTHING_SENT = 1;

    /** Whether the server has asked, by now, to end the stream that is being sent. Does not wait. */
    public function stopped(): bool
    {
        while ($this->buffer !== '' || $this->readable()) {
            // The server may take back, in this very moment, the request that made it readable: a read that waits would wait for ever.
            if ($this->buffer === '') {
                \stream_set_blocking($this->in, false);
                $this->buffer = (string) @\fread($this->in, self::READ);
                \stream_set_blocking($this->in, true);
                if ($this->buffer === '' && !\feof($this->in)) {
                    return false;
                }
            }
            if (!$this->read()) {
                return true;
            }
            if ($this->stream & Frame::STOP) {
                return true;
            }
            $this->setAside();
        }

        return false;
    }

    /** Waits for the answer to a PING; false means that the stream is to end. */
    public function awaitPong(): bool
    {
        while ($this->read()) {
            if ($this->stream & (Frame::PONG | Frame::STOP)) {
                return !($this->stream & Frame::STOP);
            }
            $this->setAside();
        }

        return false;
    }

    /** Whether something, be it the end, can be read without waiting. */
    public function readable(): bool
    {
        $read = [$this->in];
        $none = [];

        return @\stream_select($read, $none, $none, 0) > 0;
    }

    /**
     * Keeps a frame for receive(), unless it was a PONG that nobody waits for. A request goes back: another worker may be free for
     * it, and a stream can last.
     */
    private function setAside(): void
    {
        if ($this->number !== 0) {
            $this->send(Frame::plain(Frame::CONTROL, '{"untaken":true}', $this->number));
        } elseif (!($this->stream & Frame::PONG)) {
            $this->waiting[] = [$this->flags, $this->stream, $this->options, $this->payload, $this->number];
        }
    }

    private function read(): bool
    {
        $bytes = $this->buffer;
        $this->buffer = '';
        if ($bytes === '') {
            $bytes = (string) \fread($this->in, self::READ);
        }
        if (\strlen($bytes) < 12 && ($bytes = $this->fill($bytes, 12)) === '') {
            return false;
        }

        ['first' => $first, 'flags' => $flags, 'size' => $size, 'crc' => $crc, 'stream' => $stream, 'number' => $number]
            = \unpack('Cfirst/Cflags/Vsize/Vcrc/Cstream/Cnumber', $bytes);
        $words = $first & 0x0f;
        if ($crc !== \crc32(\substr($bytes, 0, 6)) || $first >> 4 !== 1 || $words < 3 || $words > 13) {
            throw new ProtocolException('no frame begins with these bytes: ' . \bin2hex(\substr($bytes, 0, 12)));
        }
        $end = $words * 4 + $size;
        if (\strlen($bytes) < $end) {
            $bytes = $this->fill($bytes, $end);
        }
        if (\strlen($bytes) > $end) {
            $this->buffer = \substr($bytes, $end);
            $bytes = \substr($bytes, 0, $end);
        }

        $this->flags = $flags;
        $this->stream = $stream & 0x0f;
        $this->slot = $stream >> 4;
        $this->number = $number;
        $this->options = $words === 3 ? [] : \array_values(\unpack('V' . $words - 3, $bytes, 12));
        $this->payload = \substr($bytes, $words * 4);

        return true;
    }

    private const LATE = 'the server did not answer in time';

    /** Throws what it means that nothing came; it may have been a signal, which means nothing. */
    private function explain(): void
    {
        if (\stream_get_meta_data($this->in)['timed_out']) {
            throw new ConnectionException(self::LATE);
        }
        if (\feof($this->in)) {
            throw new ConnectionException('the server went away before it answered');
        }
    }

    /** Reads until there are at least $size bytes. An end before the first of them gives ''. */
    private function fill(string $bytes, int $size): string
    {
        while (($missing = $size - \strlen($bytes)) > 0) {
            $more = @\fread($this->in, \min(\max($missing, self::READ), self::READ_LARGE));
            if ($more !== false && $more !== '') {
                $bytes .= $more;
            } elseif (\stream_get_meta_data($this->in)['timed_out']) {
                throw new ConnectionException(self::LATE);
            } elseif ($more === false || \feof($this->in)) {
                if ($bytes === '') {
                    return '';
                }
                throw new ConnectionException('the server went away in the middle of a frame');
            }
        }

        return $bytes;
    }
}
