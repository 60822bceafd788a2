<?php

declare(strict_types=1);

namespace Edge\Http;

/** A file of a form. The server stored it at $path and removes it after the response, unless it was moved away. */
final class UploadedFile
{
    public function __construct(
        /** Where the file is; '' when $error is not UPLOAD_ERR_OK. */
        public readonly string $path,
        public readonly int $size,
        /** One of PHP's UPLOAD_ERR_ constants. */
        public readonly int $error,
        /** The name and type as the client sent them. Never build a path from the name. */
        public readonly string $clientName,
        public readonly string $clientType,
    ) {
    }

    /** Keeps the file under another path. */
    public function moveTo(string $target): void
    {
        if ($this->error !== \UPLOAD_ERR_OK) {
            throw new \RuntimeException("the file \"$this->clientName\" was not uploaded (error $this->error)");
        }
        // rename() copies by itself when the target is on another file system.
        if (!@\rename($this->path, $target)) {
            throw new \RuntimeException("cannot move $this->path to $target: " . (\error_get_last()['message'] ?? 'unknown reason'));
        }
    }

    /**
     * Turns the server's tree of files into one of UploadedFile, in the same shape.
     *
     * @param array<mixed> $tree
     *
     * @return array<mixed>
     */
    public static function tree(array $tree): array
    {
        foreach ($tree as $name => $node) {
            if (!\is_array($node)) {
                unset($tree[$name]);
            } elseif (\is_string($node['tmpName'] ?? null) && \is_int($node['error'] ?? null)) {
                $tree[$name] = new self(
                    $node['tmpName'],
                    (int) ($node['size'] ?? 0),
                    $node['error'],
                    (string) ($node['name'] ?? ''),
                    (string) ($node['mime'] ?? ''),
                );
            } else {
                $tree[$name] = self::tree($node);
            }
        }

        return $tree;
    }
}
