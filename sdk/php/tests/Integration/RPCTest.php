<?php

declare(strict_types=1);

namespace Edge\Tests\Integration;

use Edge\Exception\ConnectionException;
use Edge\Exception\RPCException;
use Edge\Exception\UnknownMethodException;
use Edge\RPC;
use PHPUnit\Framework\TestCase;

/**
 * Calls a real server; see sdk_test.go, which starts it and sets EDGE_RPC.
 *
 * @group memory
 */
final class RPCTest extends TestCase
{
    public static function setUpBeforeClass(): void
    {
        if (getenv('EDGE_RPC') === false) {
            self::markTestSkipped('EDGE_RPC is not set: run "go test ./sdk/php"');
        }
    }

    public function testAddressComesFromTheEnvironment(): void
    {
        self::assertSame(getenv('EDGE_RPC'), (new RPC())->address);
    }

    public function testCalls(): void
    {
        $rpc = new RPC();
        self::assertSame('test', $rpc->call('rpc.Version', true));
        self::assertSame(['items' => [['key' => 'a']]], [
            $rpc->call('kv.Set', ['storage' => 'main', 'items' => [['key' => 'a', 'value' => base64_encode('1')]]]) ?? [],
            $rpc->call('kv.Has', ['storage' => 'main', 'items' => [['key' => 'a'], ['key' => 'not there']]]),
        ][1]);
        for ($i = 0; $i < 300; $i++) {
            self::assertSame('test', $rpc->call('rpc.Version', (bool) ($i % 2)));
        }
    }

    public function testErrorsKeepTheConnection(): void
    {
        $rpc = new RPC();
        foreach (['kv.Nope' => "rpc: can't find method kv.Nope", 'nope.Nope' => "rpc: can't find service nope.Nope"] as $method => $text) {
            try {
                $rpc->call($method);
                self::fail("$method worked");
            } catch (UnknownMethodException $e) {
                self::assertSame([$text, $method], [$e->getMessage(), $e->method]);
            }
        }
        try {
            $rpc->callProto('rpc.Version', '');
            self::fail('it worked');
        } catch (RPCException $e) {
            self::assertSame('message type is not a proto', $e->getMessage());
        }
        self::assertSame('test', $rpc->call('rpc.Version', true));
    }

    public function testNobodyListens(): void
    {
        $this->expectException(ConnectionException::class);
        (new RPC('unix:///nowhere/rpc.sock'))->call('rpc.Version', true);
    }

    public function testTimeout(): void
    {
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $rpc = new RPC('tcp://' . stream_socket_get_name($listener, false), 0.05);
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessage('did not answer in time');
        $rpc->call('rpc.Version', true);
    }
}
