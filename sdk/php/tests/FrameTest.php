<?php

declare(strict_types=1);

namespace Edge\Tests;

use Edge\Exception\ConnectionException;
use Edge\Exception\ProtocolException;
use Edge\Frame;
use Edge\Relay;
use PHPUnit\Framework\TestCase;

final class FrameTest extends TestCase
{
    /** @return iterable<string, array{string, string}> */
    public function written(): iterable
    {
        yield 'pid reply' => [Frame::plain(Frame::CONTROL, '{"pid":42}'), '13010a00000042185d660000' . bin2hex('{"pid":42}')];
        yield 'response' => [Frame::payload(Frame::PROTO, 0, "\x08\xc8\x01", 'hi'), '1480050000008ea1bdaf0000' . '03000000' . '08c8016869'];
        yield 'stream chunk' => [Frame::payload(Frame::PROTO, Frame::STREAM, "\x08\xc8\x01", 'hi'), '1480050000008ea1bdaf0100' . '03000000' . '08c8016869'];
        yield 'error' => [Frame::plain(Frame::ERROR, 'boom'), '134004000000881e11e30000' . '626f6f6d'];
        yield 'call' => [Frame::call(Frame::JSON, 1, 'informer.List', 'true'), '150811000000b0490c3a0000' . '01000000' . '0d000000' . bin2hex('informer.Listtrue')];
    }

    /** @dataProvider written */
    public function testWritesGoldenBytes(string $frame, string $hex): void
    {
        self::assertSame($hex, bin2hex($frame));
    }

    /** @return iterable<string, array{string, int, int, list<int>, string}> */
    public function read(): iterable
    {
        yield 'server pid' => ['130909000000' . '6dfc9844' . '0000' . bin2hex('{"pid":1}'), Frame::CONTROL | Frame::JSON, 0, [], '{"pid":1}'];
        yield 'stop' => ['13090d0000003a6bfacb0000' . bin2hex('{"stop":true}'), Frame::CONTROL | Frame::JSON, 0, [], '{"stop":true}'];
        yield 'request' => ['1480050000008ea1bdaf0000020000000a00616263', Frame::PROTO, 0, [2], "\x0a\x00abc"];
        yield 'pong' => ['13000000000096d180340800', 0, Frame::PONG, [], ''];
        yield 'stream stop' => ['13000000000096d180340200', 0, Frame::STOP, [], ''];
        yield 'answer' => ['150811000000b0490c3a0000' . '010000000d000000' . bin2hex('informer.Listtrue'), Frame::JSON, 0, [1, 13], 'informer.Listtrue'];
    }

    /**
     * @dataProvider read
     *
     * @param list<int> $options
     */
    public function testReadsGoldenBytes(string $hex, int $flags, int $stream, array $options, string $payload): void
    {
        $relay = $this->relay(hex2bin($hex));
        self::assertTrue($relay->receive());
        self::assertSame([$flags, $stream, $options, $payload], [$relay->flags, $relay->stream, $relay->options, $relay->payload]);
        self::assertFalse($relay->receive(), 'the end of the input');
    }

    /** Several frames in one read, and a frame larger than any read. */
    public function testFramesAreSplitRight(): void
    {
        $large = random_bytes(300000);
        $relay = $this->relay(
            Frame::payload(Frame::PROTO, 0, 'a', '1') . Frame::plain(0, '') . Frame::payload(Frame::PROTO, 0, 'large', $large) . Frame::plain(Frame::ERROR, 'end'),
        );
        $payloads = [];
        while ($relay->receive()) {
            $payloads[] = $relay->payload;
        }
        self::assertSame(['a1', '', 'large' . $large, 'end'], $payloads);
    }

    /** @return iterable<string, array{string, class-string<\Throwable>}> */
    public function broken(): iterable
    {
        $good = Frame::payload(Frame::PROTO, 0, 'context', 'body');
        yield 'text' => ["Warning: something in /app/worker.php\n", ProtocolException::class];
        yield 'checksum' => [substr_replace($good, "\xff", 7, 1), ProtocolException::class];
        yield 'version' => ["\x24\x80" . substr($good, 2), ProtocolException::class];
        foreach ([1, 11, 12, 15, 16, strlen($good) - 1] as $length) {
            yield "ends after $length bytes" => [substr($good, 0, $length), ConnectionException::class];
        }
    }

    /**
     * @dataProvider broken
     *
     * @param class-string<\Throwable> $exception
     */
    public function testRefusesBrokenFrames(string $bytes, string $exception): void
    {
        $this->expectException($exception);
        $this->relay($bytes)->receive();
    }

    public function testBadAddresses(): void
    {
        foreach (['pipes', '127.0.0.1:1', 'unix://', 'unix:///nowhere/there.sock', 'tcp://127.0.0.1:1'] as $address) {
            try {
                Relay::connect($address);
                self::fail("connected to $address");
            } catch (ConnectionException $e) {
                self::assertStringContainsString($address, $e->getMessage());
            }
        }
    }

    private function relay(string $bytes): Relay
    {
        $file = tmpfile();
        fwrite($file, $bytes);
        rewind($file);

        return new Relay($file, fopen('php://memory', 'r+b'));
    }
}
