<?php

declare(strict_types=1);

namespace App\Controller;

use Symfony\Component\HttpFoundation\BinaryFileResponse;
use Symfony\Component\HttpFoundation\File\UploadedFile;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpFoundation\StreamedResponse;
use Symfony\Component\HttpKernel\Attribute\AsController;
use Symfony\Component\HttpKernel\KernelInterface;

#[AsController]
final class FileController
{
    public function __construct(private readonly KernelInterface $kernel)
    {
    }

    public function upload(Request $request): Response
    {
        $file = $request->files->get('file');
        if (!$file instanceof UploadedFile || !$file->isValid()) {
            return new JsonResponse(['error' => $file?->getErrorMessage() ?? 'there is no file'], Response::HTTP_UNPROCESSABLE_ENTITY);
        }
        $answer = [
            'name' => $file->getClientOriginalName(),
            'type' => $file->getClientMimeType(),
            'size' => $file->getSize(),
            'title' => $request->request->get('title'),
        ];
        $moved = $file->move($this->kernel->getProjectDir() . '/var/uploads', bin2hex(random_bytes(8)));
        $answer['md5'] = md5_file($moved->getPathname());
        unlink($moved->getPathname());

        return new JsonResponse($answer);
    }

    /** Lines that come one after the other; without end if there are to be 0. */
    public function stream(Request $request): Response
    {
        $pause = min(1000, $request->query->getInt('pause')) * 1000;
        $lines = $request->query->getInt('lines', 10);

        return new StreamedResponse(static function () use ($pause, $lines): void {
            for ($line = 1; $line <= $lines || $lines === 0; ++$line) {
                echo "line $line\n";
                flush();
                usleep($pause);
            }
        }, headers: ['Content-Type' => 'text/plain; charset=utf-8', 'X-Accel-Buffering' => 'no']);
    }

    public function download(): Response
    {
        $response = new BinaryFileResponse(__FILE__, headers: ['Content-Type' => 'text/plain; charset=utf-8'], autoEtag: true);

        return $response->setContentDisposition('attachment', 'FileController.php');
    }
}
