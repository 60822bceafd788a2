<?php

declare(strict_types=1);

namespace Edge\Tests;

use Edge\Exception\ProtocolException;
use Edge\Http\Request;
use Edge\Http\UploadedFile;
use PHPUnit\Framework\TestCase;

final class RequestTest extends TestCase
{
    public function testEverything(): void
    {
        $request = Request::fromMessage(Pack::request(
            'POST',
            'https://shop.example:8443/a%20b/c?x[]=1&x[]=2&y=z',
            ['User-Agent' => 'curl', 'X-Many' => ['a', 'b'], 'Content-Type' => 'application/json'],
            ['session' => 'a b'],
            'x[]=1&x[]=2&y=z',
            attributes: ['user' => 'ada'],
        ), '{"a":1}');

        self::assertSame('POST', $request->method);
        self::assertSame('https://shop.example:8443/a%20b/c?x[]=1&x[]=2&y=z', $request->uri);
        self::assertSame('/a%20b/c', $request->path);
        self::assertSame('shop.example:8443', $request->host);
        self::assertSame('x[]=1&x[]=2&y=z', $request->queryString);
        self::assertSame(['x' => ['1', '2'], 'y' => 'z'], $request->query);
        self::assertSame('HTTP/1.1', $request->protocol);
        self::assertSame('127.0.0.1', $request->remoteAddr);
        self::assertSame(['User-Agent' => ['curl'], 'X-Many' => ['a', 'b'], 'Content-Type' => ['application/json']], $request->headers);
        self::assertSame('curl', $request->header('user-agent'));
        self::assertSame('a, b', $request->header('X-MANY'));
        self::assertSame('-', $request->header('missing', '-'));
        self::assertSame(['session' => 'a b'], $request->cookies);
        self::assertSame(['user' => ['ada']], $request->attributes);
        self::assertSame('ada', $request->attribute('user'));
        self::assertSame('', $request->attribute('missing'));
        self::assertSame('{"a":1}', $request->body);
        self::assertSame('{"a":1}', stream_get_contents($request->bodyStream()));
        self::assertNull($request->bodyFile);
        self::assertSame([], $request->form);
        self::assertSame([], $request->files);
        self::assertTrue(isset($request->method));
        self::assertFalse(isset($request->bodyFile));
        self::assertFalse(isset($request->nonsense));
    }

    public function testMissingHeaderWithDefault(): void
    {
        $request = Request::fromMessage(Pack::request(headers: ['A' => 'b']), '');
        self::assertSame('b', $request->headers['A'][0] ?? 'none');
        self::assertSame('none', $request->headers['B'][0] ?? 'none');
        self::assertSame('none', $request->cookies['B'] ?? 'none');
        self::assertSame('none', $request->bodyFile ?? 'none');
        self::assertNull($request->bodyFile);
    }

    public function testRequestsDoNotShareAnything(): void
    {
        $first = Request::fromMessage(Pack::request('GET', 'http://a/1'), 'one');
        self::assertSame(['GET', '/1', 'one'], [$first->method, $first->path, $first->body]);
        $second = Request::fromMessage(Pack::request('PUT', 'http://b/2'), 'two');
        self::assertSame(['PUT', '/2', 'two'], [$second->method, $second->path, $second->body]);
        self::assertSame(['GET', '/1', 'one'], [$first->method, $first->path, $first->body]);
    }

    public function testIsReadOnly(): void
    {
        $request = Request::fromMessage(Pack::request(), '');
        foreach (['method', 'headers', 'body'] as $property) {
            try {
                $request->$property = 'changed';
                self::fail("$property was changed");
            } catch (\Error $e) {
                self::assertStringContainsString('readonly', $e->getMessage());
            }
        }
    }

    /** @return iterable<array{string, string, string}> */
    public function uris(): iterable
    {
        yield ['http://localhost', 'localhost', '/'];
        yield ['http://localhost/', 'localhost', '/'];
        yield ['http://localhost?a=b', 'localhost', '/'];
        yield ['http://localhost/a/../b//c', 'localhost', '/a/../b//c'];
        yield ['http://[::1]:80/x', '[::1]:80', '/x'];
        yield ['http://localhost/go?to=http://evil/', 'localhost', '/go'];
        yield ['/relative?x', '', '/relative'];
        yield ['/has://inside', '', '/has://inside'];
        yield ['*', '', '*'];
        yield ['', '', '/'];
    }

    /** @dataProvider uris */
    public function testUri(string $uri, string $host, string $path): void
    {
        $request = Request::fromMessage(Pack::request('GET', $uri), '');
        self::assertSame([$host, $path], [$request->host, $request->path]);
    }

    public function testForms(): void
    {
        $parsed = Request::fromMessage(Pack::request('POST', parsed: true), '{"a":{"0":"x","k":["y"]}}');
        self::assertSame(['a' => ['x', 'k' => ['y']]], $parsed->form);
        self::assertSame('', $parsed->body, 'the body of a form is the form');

        self::assertSame([], Request::fromMessage(Pack::request('POST', parsed: true), '')->form);

        $raw = Request::fromMessage(Pack::request('POST', headers: ['Content-Type' => 'application/x-www-form-urlencoded; charset=utf-8']), 'a[]=1&b=2');
        self::assertSame(['a' => ['1'], 'b' => '2'], $raw->form);
        self::assertSame('a[]=1&b=2', $raw->body);

        $this->expectException(ProtocolException::class);
        Request::fromMessage(Pack::request('POST', parsed: true), '{"a":')->form;
    }

    public function testFiles(): void
    {
        $path = tempnam(sys_get_temp_dir(), 'edge');
        file_put_contents($path, 'content');
        $uploads = json_encode([
            'one' => ['name' => 'a.txt', 'mime' => 'text/plain', 'size' => 7, 'error' => 0, 'tmpName' => $path],
            'list' => [['name' => 'b.exe', 'mime' => '', 'size' => 0, 'error' => 8, 'tmpName' => '']],
        ]);
        $files = Request::fromMessage(Pack::request('POST', parsed: true, uploads: $uploads), '')->files;

        self::assertInstanceOf(UploadedFile::class, $files['one']);
        self::assertSame(['a.txt', 'text/plain', 7, \UPLOAD_ERR_OK], [$files['one']->clientName, $files['one']->clientType, $files['one']->size, $files['one']->error]);
        self::assertSame(\UPLOAD_ERR_EXTENSION, $files['list'][0]->error);

        $files['one']->moveTo($path . '.moved');
        self::assertSame('content', file_get_contents($path . '.moved'));
        unlink($path . '.moved');

        $this->expectException(\RuntimeException::class);
        $files['list'][0]->moveTo($path);
    }

    public function testBodyFile(): void
    {
        $path = tempnam(sys_get_temp_dir(), 'edge');
        file_put_contents($path, 'a large body');
        $request = Request::fromMessage(Pack::request('POST', attributes: ['edge.body_file' => $path]), '');
        self::assertSame($path, $request->bodyFile);
        self::assertSame('a large body', stream_get_contents($request->bodyStream()));
        self::assertSame('a large body', $request->body);
        unlink($path);
    }

    /** A client that sends a header of that name does not choose the file. */
    public function testBodyFileIsNotAHeader(): void
    {
        $request = Request::fromMessage(Pack::request('POST', headers: ['edge.body_file' => '/etc/passwd', 'X' => 'edge.body_file']), 'body');
        self::assertNull($request->bodyFile);
        self::assertSame('body', $request->body);
    }

    /** The context in PHP's own serialization, as php/native.go writes it. */
    public function testNative(): void
    {
        $request = self::native([
            'POST', 'https', 'HTTP/2.0', '192.0.2.1', 'a=1&b[]=2', '/a%20b', 'example.com:8443',
            serialize(['Accept' => ['text/html', 'a/b'], 123 => ['numeric'], 'Cookie' => ['c=d+"; c=e', 'l[]=1']]), serialize(['user' => ['42']]), '', '', '', '',
        ], 'the body');
        self::assertSame('https://example.com:8443/a%20b?a=1&b[]=2', $request->uri);
        self::assertSame(['POST', 'HTTP/2.0', '192.0.2.1', '/a%20b', 'example.com:8443', 'a=1&b[]=2'], [
            $request->method, $request->protocol, $request->remoteAddr, $request->path, $request->host, $request->queryString,
        ]);
        self::assertSame(['a' => '1', 'b' => ['2']], $request->query);
        self::assertSame(['Accept' => ['text/html', 'a/b'], 123 => ['numeric'], 'Cookie' => ['c=d+"; c=e', 'l[]=1']], $request->headers);
        self::assertSame('text/html, a/b', $request->header('accept'));
        self::assertSame('42', $request->attribute('user'));
        self::assertSame(['c' => 'd+"', 'l' => ['1']], $request->cookies);
        self::assertSame('the body', $request->body);
        self::assertNull($request->bodyFile);
        self::assertFalse(isset($request->bodyFile));
        self::assertSame([], $request->form);
    }

    public function testNativeForm(): void
    {
        $uploads = json_encode(['f' => ['name' => 'a.txt', 'mime' => '', 'size' => 7, 'error' => 0, 'tmpName' => '/tmp/x']]);
        $request = self::native(['POST', 'http', 'HTTP/1.1', '', '', '', 'h', '', '', '1', $uploads, '', ''], '{"a":["1"]}');
        self::assertSame(['a' => ['1']], $request->form);
        self::assertSame('', $request->body);
        self::assertSame('a.txt', $request->files['f']->clientName);
        self::assertSame([[], [], [], '/', 'http://h'], [$request->headers, $request->cookies, $request->attributes, $request->path, $request->uri]);
    }

    public function testNativeBodyFile(): void
    {
        $path = tempnam(sys_get_temp_dir(), 'edge');
        file_put_contents($path, 'a large body');
        $request = self::native(['PUT', 'http', 'HTTP/1.1', '', '', '/', 'h', '', '', '', '', '', $path]);
        self::assertSame([$path, 'a large body'], [$request->bodyFile, $request->body]);
        unlink($path);
    }

    /** Only texts and arrays come out of a context, and nothing else than the list that was agreed on. */
    public function testNativeRefusesAnythingElse(): void
    {
        $this->expectException(ProtocolException::class);
        self::native((object) ['a' => 1]);
    }

    private static function native(mixed $list, string $body = ''): Request
    {
        $task = new \Edge\Worker(new \Edge\Relay(fopen('php://memory', 'r'), fopen('php://memory', 'w')));
        [$task->context, $task->body, $task->native] = [serialize($list), $body, true];

        return Request::ofTask($task);
    }
}
