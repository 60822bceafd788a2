<?php

declare(strict_types=1);

namespace Edge\Tests\Integration;

use Edge\Exception\KVException;
use Edge\Exception\ProtocolException;
use Edge\Exception\StorageNotFoundException;
use Edge\KV;
use Edge\RPC;
use Edge\Serializer;
use PHPUnit\Framework\TestCase;

final class KVTest extends TestCase
{
    private KV $kv;

    protected function setUp(): void
    {
        if (getenv('EDGE_RPC') === false) {
            self::markTestSkipped('EDGE_RPC is not set: run "go test ./sdk/php"');
        }
        $this->kv = new KV('main');
        $this->kv->clear();
    }

    /** @return iterable<string, array{mixed}> */
    public function values(): iterable
    {
        yield 'text' => ['text'];
        yield 'empty' => [''];
        yield 'binary' => [random_bytes(1000)];
        yield 'false' => [false];
        yield 'null' => [null];
        yield 'zero' => [0];
        yield 'float' => [1.5];
        yield 'array' => [['a' => [1, 2, ['b' => null]]]];
        yield 'object' => [new \ArrayObject([1, 2])];
        yield 'one megabyte' => [str_repeat('0123456789abcdef', 1 << 16)];
    }

    /** @dataProvider values */
    public function testValues(mixed $value): void
    {
        $this->kv->set('key', $value);
        self::assertEquals($value, $this->kv->get('key', 'default'));
        self::assertTrue($this->kv->has('key'));
    }

    public function testKeysAndBytesOfAllKinds(): void
    {
        $this->kv->set("a\0b", 'both');
        self::assertSame('both', $this->kv->get("a\0b"));
        self::assertNull($this->kv->get('a'));
        $bytes = new KV('main', serializer: new class implements Serializer {
            public function encode(mixed $value): string
            {
                return $value;
            }

            public function decode(string $bytes): mixed
            {
                return $bytes;
            }
        });
        foreach (['', "\0", "\0\0x", 'i:1;'] as $value) {
            $bytes->set('key', $value);
            self::assertSame($value, $bytes->get('key', 'default'));
        }
    }

    public function testMissing(): void
    {
        self::assertNull($this->kv->get('missing'));
        self::assertSame('default', $this->kv->get('missing', 'default'));
        self::assertFalse($this->kv->has('missing'));
        self::assertNull($this->kv->ttl('missing'));
        $this->kv->delete('missing');
    }

    public function testDeleteAndClear(): void
    {
        $this->kv->setMultiple(['a' => 1, 'b' => 2, 'c' => 3]);
        $this->kv->delete('a');
        $this->kv->deleteMultiple(['b', 'missing']);
        self::assertSame(['a' => null, 'b' => null, 'c' => 3], $this->kv->getMultiple(['a', 'b', 'c']));
        $this->kv->clear();
        self::assertFalse($this->kv->has('c'));
    }

    public function testMultiple(): void
    {
        $many = [];
        for ($i = 0; $i < 1000; $i++) {
            $many["key$i"] = ['number' => $i];
        }
        $this->kv->setMultiple($many, 60);
        self::assertSame($many, $this->kv->getMultiple(array_keys($many)));
        self::assertSame(['7' => 'x', 'none' => 'd'], (function () {
            $this->kv->setMultiple([7 => 'x']);

            return $this->kv->getMultiple(['7', 'none'], 'd');
        })());
        self::assertSame([], $this->kv->getMultiple([]));
        $this->kv->setMultiple([]);
        $this->kv->deleteMultiple([]);
    }

    public function testTTL(): void
    {
        $now = time();
        foreach ([100, 100.25, new \DateInterval('PT100S'), new \DateTimeImmutable('+100 seconds')] as $ttl) {
            $this->kv->set('key', 1, $ttl);
            self::assertEqualsWithDelta($now + 100, $this->kv->ttl('key')->getTimestamp(), 30);
        }
        $this->kv->set('key', 1);
        self::assertNull($this->kv->ttl('key'));
        self::assertTrue($this->kv->has('key'));

        $this->kv->expire('key', 50);
        self::assertEqualsWithDelta($now + 50, $this->kv->ttl('key')->getTimestamp(), 30);
        self::assertSame(1, $this->kv->get('key'));
    }

    /** A tenth of a second is a tenth of a second. */
    public function testExpires(): void
    {
        $end = microtime(true) + 0.1;
        $this->kv->set('key', 1, 0.1);
        while ($this->kv->has('key')) {
            self::assertLessThan($end + 20, microtime(true), 'the key is still there');
            usleep(1000);
        }
        self::assertGreaterThan($end - 0.005, microtime(true));
    }

    public function testPastRemoves(): void
    {
        foreach ([-1, 0, new \DateTimeImmutable('1960-01-01'), new \DateTimeImmutable('yesterday')] as $past) {
            $this->kv->set('key', 1);
            $this->kv->set('key', 2, $past);
            self::assertFalse($this->kv->has('key'));
        }
        $this->kv->set('key', 1, new \DateTimeImmutable('9999-12-31'));
        self::assertTrue($this->kv->has('key'));
    }

    /** @group memory */
    public function testKeysOfAnyBytes(): void
    {
        $keys = ["bin\xff", "bin\xfe", "bin\x00\xc3\x28"];
        foreach ($keys as $i => $key) {
            $this->kv->set($key, $i);
        }
        foreach ($keys as $i => $key) {
            self::assertSame($i, $this->kv->get($key));
        }
        $found = \iterator_to_array($this->kv->scan('bin'), false);
        \sort($keys);
        \sort($found);
        self::assertSame($keys, $found);
        foreach ($keys as $key) {
            $this->kv->delete($key);
            self::assertFalse($this->kv->has($key));
        }
    }

    /** @group memory */
    public function testErrors(): void
    {
        try {
            (new KV('nope'))->get('key');
            self::fail('the storage exists');
        } catch (StorageNotFoundException $e) {
            self::assertStringContainsString('no such storage: nope', $e->getMessage());
        }
        foreach (['', ' '] as $key) {
            try {
                $this->kv->set($key, 1);
                self::fail('the key was taken');
            } catch (KVException $e) {
                self::assertSame('kv.Set', $e->method);
            }
        }
        try {
            (new KV('small'))->set('key', str_repeat('x', 20000));
            self::fail('the value was taken');
        } catch (KVException $e) {
            self::assertStringContainsString('store is full', $e->getMessage());
        }
        self::assertFalse($this->kv->has('key'), 'the connection works on');
    }

    public function testForeignValue(): void
    {
        (new RPC())->call('kv.Set', ['storage' => 'main', 'items' => [['key' => 'foreign', 'value' => base64_encode('{"json":1}')]]]);
        $this->expectException(ProtocolException::class);
        $this->kv->get('foreign');
    }
}
